// A device as a test drives it: says what it is told to, over TLS, with the credentials of its registration.
import mqtt from 'mqtt';

export class Mqtt {
  static async connect(system, { credentials, mqtt: broker }) {
    const device = new Mqtt();
    device.topics = broker.topics;
    device.session = Math.random().toString(16).slice(2, 10);
    device.client = await mqtt.connectAsync({
      protocol: 'mqtts',
      host: 'localhost',
      port: broker.port,
      ca: broker.ca,
      clientId: credentials.client_id,
      username: credentials.username,
      password: credentials.password,
    });
    return device;
  }

  status(fields) {
    this.client.publish(this.topics.status, JSON.stringify({ status: 'online', session: this.session, ...fields }), { qos: 1 });
  }

  log(message, level = 'info') {
    this.client.publish(this.topics.logs, JSON.stringify({ level, message }), { qos: 1 });
  }

  end() {
    this.client.end(true);
  }
}
