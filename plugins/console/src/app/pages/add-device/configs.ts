// What a device needs to know of its registration, in the forms that projects take it.
import { Broker, Credentials, Device, Registration } from '../../core/models';

/** 1 to 50 of these: as POST /devices/register wants it. null: it is good. */
export function codeProblem(code: string): string | null {
  if (!code) return 'A code is needed.';
  if (code.length > 50) return 'A code has 50 characters at most.';
  const wrong = /[^A-Za-z0-9._:-]/.exec(code)?.[0];
  if (!wrong) return null;
  return wrong === ' ' ? 'A code has no spaces.' : `A code has letters, digits and . _ : - only, not ${wrong}`;
}

/** A text between quotes in C, C++ and Arduino sketches. */
export function quoted(text: string): string {
  return `"${text
    .replace(/[\\"]/g, '\\$&')
    .replace(/\n/g, '\\n')
    .replace(/[\x00-\x1f\x7f]/g, '')}"`;
}

/** Long texts of several lines: a literal for each. */
function quotedLines(text: string, indent: string): string {
  return text
    .split(/(?<=\n)/)
    .map((line) => quoted(line.replace(/\r/g, '')))
    .join(indent);
}

/** What a device's provisioning may read from the QR code. */
export function qrText({ username, password, client_id }: Credentials, mqtt: Broker | null): string {
  return JSON.stringify({
    ...(mqtt && { host: mqtt.host, port: mqtt.port, tls: mqtt.tls }),
    username,
    password,
    client_id,
  });
}

export function mqttUri({ host, port, tls }: Broker): string {
  return `${tls ? 'mqtts' : 'mqtt'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** main/registration.h of plugins/esp32/idf/examples/basic. */
export function espIdfHeader({ device, credentials, mqtt, keys }: Registration): string {
  return `/* ${device.device_code}, as it was registered. Keep it secret: whoever has it can pass for this device. */
#pragma once

#define REGISTRATION_DEVICE_ID ${device.id}
#define REGISTRATION_USERNAME ${quoted(credentials.username)}
#define REGISTRATION_PASSWORD ${quoted(credentials.password)}
#define REGISTRATION_CLIENT_ID ${quoted(credentials.client_id)}
#define REGISTRATION_MQTT_URI ${quoted(mqttUri(mqtt))}
#define REGISTRATION_CA ${mqtt.ca ? `\\\n    ${quotedLines(mqtt.ca, ' \\\n    ')}` : 'NULL /* the certificate bundle */'}
#define REGISTRATION_STATUS_TOPIC ${quoted(mqtt.topics.status)}
#define REGISTRATION_OTA_TOPIC ${quoted(mqtt.topics.ota)}
#define REGISTRATION_LOGS_TOPIC ${quoted(mqtt.topics.logs)}
#define REGISTRATION_MANIFEST_KEY ${quoted(keys.manifest)}
#define REGISTRATION_RELEASE_KEY ${keys.release.map(quoted).join(', ') || 'NULL /* the server trusts none yet */'}
`;
}

/** The lines of registration.h that change with new credentials. */
export function espIdfCredentials({ username, password, client_id }: Credentials): string {
  return `#define REGISTRATION_USERNAME ${quoted(username)}
#define REGISTRATION_PASSWORD ${quoted(password)}
#define REGISTRATION_CLIENT_ID ${quoted(client_id)}
`;
}

/** A whole sketch: connects, tells how the board is, shows offers. */
export function arduinoSketch({ device, credentials, mqtt }: Registration): string {
  const secure = mqtt.tls;
  const ca = secure && mqtt.ca;
  return `// ${device.device_code}: connects, tells otad how the board is, and shows the updates that it is offered.
// Libraries: PubSubClient by Nick O'Leary, with the ESP32 boards of Espressif.
// It does not install updates: verifying signatures and rolling back is what the client for ESP-IDF does.
#include <WiFi.h>
${secure ? '#include <WiFiClientSecure.h>\n' : ''}#include <PubSubClient.h>

const char *WIFI_NAME = "your network";
const char *WIFI_PASSWORD = "its password";

const char *MQTT_HOST = ${quoted(mqtt.host)};
const uint16_t MQTT_PORT = ${mqtt.port};
const char *CLIENT_ID = ${quoted(credentials.client_id)};
const char *USERNAME = ${quoted(credentials.username)};
const char *PASSWORD = ${quoted(credentials.password)};
const char *STATUS_TOPIC = ${quoted(mqtt.topics.status)};
const char *OTA_TOPIC = ${quoted(mqtt.topics.ota)};
const char *LOGS_TOPIC = ${quoted(mqtt.topics.logs)};
const char *VERSION = "1.0.0"; // of this sketch
${ca ? `\nconst char *CA =\n    ${quotedLines(ca, '\n    ')};\n` : ''}
const unsigned long HEARTBEAT = 60000; // ms; otad takes a device for offline after 120 s

${secure ? 'WiFiClientSecure' : 'WiFiClient'} network;
PubSubClient mqtt(network);
char session[9]; // tells this connection's last will from those before
unsigned long said;

void tellStatus() {
  char message[256];
  snprintf(message, sizeof(message),
           "{\\"status\\":\\"online\\",\\"session\\":\\"%s\\",\\"firmware_version\\":\\"%s\\",\\"chip\\":\\"%s\\","
           "\\"uptime\\":%lu,\\"rssi\\":%d,\\"heap\\":%u}",
           session, VERSION, CONFIG_IDF_TARGET, millis() / 1000, (int)WiFi.RSSI(), (unsigned)ESP.getFreeHeap());
  if (mqtt.publish(STATUS_TOPIC, message)) said = millis();
}

void onOffer(char *topic, byte *payload, unsigned int length) {
  if (length == 0) return; // no update is offered (any more)
  Serial.printf("Offered on %s: %.*s\\n", topic, (int)length, (const char *)payload);
}

bool reconnect() {
  char will[64];
  snprintf(session, sizeof(session), "%08x", (unsigned)esp_random());
  snprintf(will, sizeof(will), "{\\"status\\":\\"offline\\",\\"session\\":\\"%s\\"}", session);
  if (!mqtt.connect(CLIENT_ID, USERNAME, PASSWORD, STATUS_TOPIC, 1, false, will)) {
    Serial.printf("No connection to %s: state %d\\n", MQTT_HOST, mqtt.state());
    return false;
  }
  mqtt.subscribe(OTA_TOPIC, 1);
  mqtt.publish(LOGS_TOPIC, "{\\"level\\":\\"info\\",\\"message\\":\\"connected\\"}");
  tellStatus();
  return true;
}

void setup() {
  Serial.begin(115200);
  WiFi.begin(WIFI_NAME, WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) delay(250);
  configTime(0, 0, "pool.ntp.org"); // certificates are good for a time
${ca ? '  network.setCACert(CA);\n' : secure ? '  network.setDefaultCACertBundle(); // the roots that browsers trust\n' : ''}  mqtt.setServer(MQTT_HOST, MQTT_PORT);
  mqtt.setBufferSize(4096); // an offer is longer than the 256 bytes that are the default
  mqtt.setCallback(onOffer);
}

void loop() {
  if (!mqtt.connected() && !reconnect()) {
    delay(5000);
    return;
  }
  mqtt.loop();
  if (millis() - said >= HEARTBEAT) tellStatus();
}
`;
}

export function registrationFile(device: Pick<Device, 'id'>): string {
  return `device-${device.id}.json`;
}

/** As a browser saves it, and as the README of otad runs it. */
export function simulatorCommand(device: Pick<Device, 'id'>): string {
  return `build/otad-device --config ~/Downloads/${registrationFile(device)} --state var/device-${device.id}`;
}
