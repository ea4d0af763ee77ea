// An installation with something on every page, and what is to hold for each page and all that opens on it: axe finds
// nothing, nothing sticks out of a phone's screen. OTAD_SCREENSHOTS=DIRECTORY keeps a picture of each.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from './system.mjs';

const PICTURES = process.env.OTAD_SCREENSHOTS;

/** Some devices that live, one that cannot run the new image, a rollout that has ended and one that goes on. */
export async function fill(system, operator) {
  const first = await system.image({ version: '1.0.0' });
  const next = await operator.upload(await system.image({ version: '1.1.0' }));
  await operator.upload(first);
  const devices = [];
  for (let i = 1; i <= 4; i++) {
    const fields = { device_code: `desk-${i}`, name: i === 2 ? null : `Thermostat ${i}`, chip: 'esp32', tags: { site: `hall-${i % 2}` } };
    const registration = await operator.call('POST', '/devices/register', fields);
    devices.push(registration.device.id);
    const fault = i === 4 ? ['--selftest', 'fail'] : [];
    await system.device(registration, '--initial', first, '--metric', `temperature=${20 + i}.5`, ...fault);
  }
  await until(
    async () => (await operator.call('GET', '/devices?online=true')).items.length === 4,
    'all devices are online',
  );
  const rollout = async (name, policy, target) =>
    (await operator.call('POST', '/rollouts', { name, firmware_id: next.id, policy, target })).rollout.id;
  const ended = await rollout('Spring', 'all_at_once', { device_ids: devices });
  await until(
    async () => (await operator.call('GET', `/rollouts/${ended}`)).state !== 'running',
    'the first rollout has ended',
  );
  await system.psql(`insert into devices (user_id, device_code, chip) select ${1}, 'never-' || n, 'esp32' from generate_series(1, 60) n`);
  const going = await rollout('Summer', 'canary', { chip: 'esp32' });
  return { device: devices[0], failed: devices[3], firmware: next.id, ended, going };
}

/** What is wrong with the page as it is, for `found`; `without`: rules of axe that are not asked. */
export async function check(person, name, look, found, ...without) {
  const { page } = person;
  for (const words of await person.axe(...without)) found.push(`${name}, ${look}: ${words}`);
  const headings = await page.getByRole('heading', { level: 1 }).count();
  if (headings !== 1 && !(await page.getByRole('dialog').count())) found.push(`${name}, ${look}: ${headings} h1`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (over > 0) found.push(`${name}, ${look}: ${over} px wider than the screen`);
  if (PICTURES) await mkdir(PICTURES, { recursive: true });
  if (PICTURES) await page.screenshot({ path: join(PICTURES, `${name}-${look}.png`), fullPage: true });
}
