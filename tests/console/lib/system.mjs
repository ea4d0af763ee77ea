// A running otad of a test's own, with the console, started by conf/up on free ports in a directory of its own.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile, cp, realpath } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const ROOT = new URL('../../../', import.meta.url).pathname;
export const BUILD = process.env.OTAD_BUILD ?? join(ROOT, 'build');
export const PASSWORD = 'correct horse battery';

const PORTS = ['HTTP', 'HTTPS', 'MQTT', 'MQTTS', 'MQTT_WS', 'PG', 'REDIS'];
const FOREIGN = /^(OTAD_(?!BUILD$).*|DATABASE_URL|REDIS_URL|MQTT_URL|PORT)(_FILE)?$/; // of the tester's own shell

// Held open until all are known, so that none is given twice.
export async function freePorts(count) {
  const servers = [];
  while (servers.length < count) {
    const server = createServer().listen(10000 + Math.floor(Math.random() * 20000), '0.0.0.0');
    // It fails with the error where somebody else has the port.
    if (await once(server, 'listening').then(() => true, () => false)) servers.push(server);
  }
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

export class System {
  /** settings: further environment, such as {OTAD_AUTH_ACCESS_TTL: '5s'}. */
  static async start(settings = {}) {
    const system = new System();
    system.var = await mkdtemp(join(tmpdir(), 'otad-console-'));
    const template = process.env.OTAD_TEMPLATE; // as in tests/lib/system.py
    if (template) await run('cp', ['-a', `${template}/.`, system.var]);
    await cp(join(ROOT, 'scripts'), join(system.var, 'scripts'), { recursive: true }); // otad writes policies there
    const ports = await freePorts(PORTS.length);
    system.env = {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !FOREIGN.test(name))),
      ...Object.fromEntries(PORTS.map((name, i) => [`OTAD_${name}_PORT`, `${ports[i]}`])),
      OTAD_VAR: system.var,
      OTAD_SCRIPTS: join(system.var, 'scripts'),
      OTAD_BUILD: BUILD,
      OTAD_AUTH_MAX_REGISTRATIONS: '100000',
      ...settings,
    };
    system.url = `http://localhost:${ports[0]}`;
    system.secureUrl = `https://localhost:${ports[1]}`; // with a certificate of its own making
    system.devices = [];
    system.printed = (await system.up('--detach')).stdout;
    return system;
  }

  up(...words) {
    return run(join(ROOT, 'conf/up'), words, { env: this.env, timeout: 300_000 });
  }

  service(name, action) {
    return this.up('--service', name, action);
  }

  async stop() {
    for (const device of this.devices) device.kill('SIGKILL');
    await this.up('--stop');
    const database = await realpath(join(this.var, 'postgresql')).catch(() => null); // may be a link out of var
    if (database) await rm(database, { recursive: true, force: true });
    await rm(this.var, { recursive: true, force: true });
  }

  async psql(sql) {
    const url = (await readFile(join(this.var, 'keys/database.url'), 'utf8')).trim();
    const { stdout } = await run('/usr/lib/postgresql/15/bin/psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql, url]);
    return stdout.trim();
  }

  /** A sound image as a file. */
  async image({ chip = 'esp32', version, project = 'demo', size = 131072 }) {
    const file = join(this.var, `${project}-${version}-${chip}.bin`);
    const words = ['--chip', chip, '--version', version, '--project', project, '--size', `${size}`, file];
    await run('python3', [join(ROOT, 'tests/lib/make_image.py'), ...words]);
    return file;
  }

  /** Starts otad-device with the answer of POST /devices/register; the process. */
  async device(registration, ...words) {
    const id = registration.device.id;
    const config = join(this.var, `device-${id}.json`);
    await writeFile(config, JSON.stringify(registration));
    const options = ['--config', config, '--state', join(this.var, `state-${id}`), '--heartbeat', '2s', '--quiet', ...words];
    const child = spawn(join(BUILD, 'otad-device'), options, { stdio: 'ignore' });
    this.devices.push(child);
    return child;
  }
}

/** An account that is logged in over the API. */
export class Account {
  static async create(system, email, role = 'operator') {
    const account = new Account();
    account.system = system;
    account.email = email;
    await account.call('POST', '/auth/register', { email, password: PASSWORD });
    await system.psql(`update users set role = '${role}' where email = '${email}'`);
    account.token = (await account.call('POST', '/auth/login', { email, password: PASSWORD })).access_token;
    return account;
  }

  async call(method, path, body) {
    const headers = this.token ? { authorization: `Bearer ${this.token}` } : {};
    const form = body instanceof FormData;
    if (body !== undefined && !form) headers['content-type'] = 'application/json';
    const answer = await fetch(this.system.url + path, { method, headers, body: form ? body : JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  async upload(file) {
    const form = new FormData();
    form.append('file', new Blob([await readFile(file)]), 'image.bin');
    return (await this.call('POST', '/firmware/upload', form)).firmware;
  }
}

/** Waits until `look` returns something true; that. For an idle machine `seconds` are plenty. */
export async function until(look, what, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await new Promise((done) => setTimeout(done, 100))) {
    const found = await look();
    if (found) return found;
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}
