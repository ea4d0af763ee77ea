import { Registration } from '../../core/models';
import {
  arduinoSketch,
  codeProblem,
  espIdfCredentials,
  espIdfHeader,
  mqttUri,
  qrText,
  quoted,
  simulatorCommand,
} from './configs';

const CA = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

const registration = (changes: Partial<Registration['mqtt']> = {}): Registration => ({
  device: { id: 42, device_code: 'desk-1' } as Registration['device'],
  credentials: { username: 'device-42', password: 'p"w\\d', client_id: 'device-42' },
  mqtt: {
    host: 'ota.example.org',
    port: 8883,
    tls: true,
    ca: CA,
    topics: { status: 'device/42/status', ota: 'device/42/ota', logs: 'device/42/logs' },
    ...changes,
  },
  keys: { manifest: 'bWFuaWZlc3Q=', release: ['YQ==', 'Yg=='] },
});

describe('device codes', () => {
  it('are 1 to 50 of letters, digits and . _ : -', () => {
    expect(codeProblem('Desk-1.a_b:c')).toBeNull();
    expect(codeProblem('x'.repeat(50))).toBeNull();
    expect(codeProblem('x'.repeat(51))).toContain('50');
    expect(codeProblem('')).toContain('needed');
    expect(codeProblem('a b')).toContain('spaces');
    expect(codeProblem('ä')).toContain('ä');
    expect(codeProblem('a/b')).toContain('/');
  });
});

describe('registration.h', () => {
  it('has what the example of the ESP-IDF component reads', () => {
    const header = espIdfHeader(registration());
    expect(header).toContain('#define REGISTRATION_DEVICE_ID 42\n');
    expect(header).toContain('#define REGISTRATION_PASSWORD "p\\"w\\\\d"\n');
    expect(header).toContain('#define REGISTRATION_MQTT_URI "mqtts://ota.example.org:8883"\n');
    expect(header).toContain(
      '#define REGISTRATION_CA \\\n    "-----BEGIN CERTIFICATE-----\\n" \\\n    "MIIB\\n" \\\n    "-----END CERTIFICATE-----\\n"\n',
    );
    expect(header).toContain('#define REGISTRATION_RELEASE_KEY "YQ==", "Yg=="\n');
  });

  it('takes the certificate bundle where the server names no CA', () => {
    expect(espIdfHeader(registration({ ca: null }))).toContain('#define REGISTRATION_CA NULL');
  });

  it('changes with new credentials in three lines', () => {
    expect(espIdfCredentials(registration().credentials).trim().split('\n')).toHaveLength(3);
  });
});

describe('the sketch', () => {
  it('speaks TLS with the CA of the broker', () => {
    const sketch = arduinoSketch(registration());
    expect(sketch).toContain('#include <WiFiClientSecure.h>');
    expect(sketch).toContain('network.setCACert(CA);');
    expect(sketch).toContain('"MIIB\\n"');
    expect(sketch).toContain('const char *STATUS_TOPIC = "device/42/status";');
    expect(sketch).toContain('mqtt.subscribe(OTA_TOPIC, 1);');
  });

  it('does without where the broker has none', () => {
    const sketch = arduinoSketch(registration({ tls: false, ca: null, port: 1883 }));
    expect(sketch).not.toContain('Secure');
    expect(sketch).toContain('WiFiClient network;');
    expect(sketch).toContain('const uint16_t MQTT_PORT = 1883;');
  });
});

describe('other forms', () => {
  it('are short', () => {
    expect(JSON.parse(qrText(registration().credentials, registration().mqtt))).toEqual({
      host: 'ota.example.org',
      port: 8883,
      tls: true,
      username: 'device-42',
      password: 'p"w\\d',
      client_id: 'device-42',
    });
    expect(JSON.parse(qrText(registration().credentials, null))).not.toHaveProperty('host');
    expect(mqttUri({ host: '::1', port: 1883, tls: false })).toBe('mqtt://[::1]:1883');
    expect(quoted('a\nb\u0007')).toBe('"a\\nb"');
    expect(simulatorCommand({ id: 7 })).toBe(
      'build/otad-device --config ~/Downloads/device-7.json --state var/device-7',
    );
  });
});
