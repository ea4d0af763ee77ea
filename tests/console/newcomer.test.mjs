// From the empty page to an updated simulated device, by what the console itself says.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { PASSWORD, System } from './lib/system.mjs';

let system, browser, person;

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  person = await Person.arrive(browser, system);
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

test('make the first account', async () => {
  const { page } = person;
  await page.goto(system.url);
  await page.getByLabel('Email').fill('newcomer@example.org');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByRole('heading', { name: 'First steps' }).waitFor();
});

test('add a device, and start the simulated one with what the page gives', async () => {
  const { page } = person;
  await page.locator('otad-first-steps').getByRole('link', { name: 'Add a device' }).click();
  await page.getByRole('textbox', { name: 'Code' }).fill('desk-1');
  await page.getByRole('combobox', { name: 'Chip' }).click();
  await page.getByRole('option', { name: /^esp32$/i }).click();
  await page.getByRole('button', { name: 'Register device' }).click();

  const saving = page.waitForEvent('download');
  await page.getByRole('button', { name: /^Download device-/ }).click();
  const registration = JSON.parse(await readFile(await (await saving).path(), 'utf8'));
  assert.equal(registration.device.device_code, 'desk-1');
  assert.match(registration.credentials.password, /^[\w-]{43}$/);
  await page.getByText('build/otad-device').first().waitFor();
  await system.device(registration);
  await page.getByText(/desk-1 is online/).waitFor();
});

test('make a demo image and upload it', async () => {
  const { page } = person;
  await page.getByRole('link', { name: 'Home', exact: true }).click();
  await page.locator('otad-first-steps').getByRole('link', { name: 'Upload firmware' }).click();
  await page.getByRole('button', { name: 'Make a demo image' }).click();
  await page.getByRole('button', { name: 'Upload', exact: true }).click();
  await page.getByRole('table').getByRole('link', { name: '1.0.0' }).waitFor();
});

test('update the device and watch it succeed', async () => {
  const { page } = person;
  await page.getByRole('link', { name: 'Home', exact: true }).click();
  await page.locator('otad-first-steps').getByRole('link', { name: 'Go to the devices' }).click();
  await page.getByRole('link', { name: 'desk-1' }).click();
  await page.getByRole('button', { name: 'Update', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('radio').first().check();
  await dialog.getByRole('button', { name: 'Update', exact: true }).click();
  await page.getByText(/succeeded/i).first().waitFor({ timeout: 60_000 });
  await page.getByRole('link', { name: 'Home', exact: true }).click();
  await page.getByText('1 updated in 24 h').waitFor();
  assert.equal(await page.getByRole('heading', { name: 'First steps' }).count(), 0, 'the way has been walked');
  assert.deepEqual(person.complaints, []);
});
