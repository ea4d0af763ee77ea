// What opens on the pages, on a phone in the dark: for all of it holds what holds for pages (lib/filled.mjs).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Person } from './lib/browser.mjs';
import { check, fill } from './lib/filled.mjs';
import { openings } from './lib/opened.mjs';
import { Account, System } from './lib/system.mjs';

let system, browser, ids;

before(async () => {
  [system, browser] = await Promise.all([System.start(), launch()]);
  ids = await fill(system, await Account.create(system, 'operator@example.org'));
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

test('what opens on the pages', async () => {
  const look = 'phone at night';
  const person = await Person.arrive(browser, system, look);
  const { page } = person;
  page.on('dialog', (asked) => asked.accept()); // of a text that is not activated
  await person.login('operator@example.org');
  const found = [];
  for (const [name, [path, open]] of Object.entries(openings(ids))) {
    await page.goto(`${system.url}/ui/${path}`);
    await person.settled();
    await open(page);
    await page.waitForTimeout(300); // until it has moved to its place
    // Menus are not in a landmark; the list of completions is driven from the editor.
    await check(person, name, look, found, 'region', ...(name === 'policy-completion' ? ['scrollable-region-focusable'] : []));
  }
  assert.deepEqual([...found, ...person.complaints], []);
  await person.context.close();
});
