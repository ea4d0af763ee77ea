// What opens on the pages, and what appears when something is done: menus, dialogs, lists of suggestions, tables of charts.
// ids: a device, a firmware, rollouts. Each begins on its page loaded anew.

const button = (page, name) => page.getByRole('button', { name, exact: typeof name === 'string' });
const menu = async (page, opener, item) => {
  await button(page, opener).click();
  await page.getByRole('menu').last().waitFor();
  if (item) await page.getByRole('menuitem', { name: item }).click();
};
const dialog = (page) => page.getByRole('dialog').waitFor();
const options = (page) => page.getByRole('option').first().waitFor();
const choose = async (page, label) => {
  await page.getByRole('combobox', { name: label }).first().click();
  await options(page);
};
const type = async (page, label, text) => {
  const field = page.getByRole('combobox', { name: label }).first();
  await field.click();
  await field.pressSequentially(text);
};

export function openings(ids) {
  const device = `devices/${ids.device}`;
  const edit = async (page) => {
    await page.locator('.cm-content').first().click();
    await page.keyboard.press('Control+Home');
    await page.keyboard.insertText('-- Another comment.\n');
    await button(page, 'Activate').waitFor();
  };
  return {
    'account-menu': ['', (page) => menu(page, 'Account and appearance')],
    appearance: ['', async (page) => (await menu(page, 'Account and appearance', 'Appearance'), page.getByRole('menuitemradio').first().waitFor())],
    'devices-status': ['devices', (page) => choose(page, 'Status')],
    'devices-tag': ['devices', (page) => type(page, 'Tag', 'site').then(() => options(page))],
    'devices-selected': ['devices', (page) => page.getByRole('checkbox', { name: 'Select all devices shown' }).check()],
    'devices-more': ['devices', async (page) => (await page.getByRole('checkbox').nth(1).check(), await menu(page, 'More'))],
    'devices-tags': ['devices', async (page) => {
      await page.getByRole('checkbox').nth(1).check();
      await button(page, 'Change tags').click();
      await dialog(page);
      await type(page, 'Set', 'ring:1');
      await page.keyboard.press('Enter');
      await type(page, 'Take away', 'a:b');
      await page.keyboard.press('Enter');
    }],
    'devices-update': ['devices', async (page) => {
      await page.getByRole('checkbox').nth(1).check();
      await page.getByRole('region', { name: 'Selected devices' }).getByRole('button', { name: 'Update' }).click();
      await dialog(page);
    }],
    'devices-delete': ['devices', async (page) => (await page.getByRole('checkbox').nth(1).check(), await menu(page, 'More', 'Delete'), await dialog(page))],
    'device-more': [device, (page) => menu(page, 'More')],
    'device-rename': [device, async (page) => (await menu(page, 'More', 'Rename'), await button(page, 'Save name').waitFor())],
    'device-edit': [device, async (page) => (await menu(page, 'More', 'Edit chip and tags'), await dialog(page), await type(page, 'Tags', 'site'), await options(page))],
    'device-update': [device, async (page) => (await button(page, 'Update').click(), await page.getByRole('radio').first().check())],
    'device-credentials': [device, async (page) => (await menu(page, 'More', 'New credentials'), await dialog(page))],
    'device-flash': [device, async (page) => (await menu(page, 'More', 'Flash over USB'), await dialog(page))],
    'device-delete': [device, async (page) => (await menu(page, 'More', 'Delete device'), await dialog(page))],
    'device-chart-table': [device, async (page) => {
      await page.getByRole('heading', { name: 'Telemetry' }).scrollIntoViewIfNeeded();
      await button(page, /^Show as table/).first().click();
    }],
    'add-device-wrong': ['devices/add', async (page) => {
      await page.getByRole('textbox', { name: 'Code' }).fill('a b');
      await type(page, 'Tags', 'no colon');
      await page.keyboard.press('Enter');
      await button(page, 'Register device').click();
    }],
    'firmware-upload': ['firmware', async (page) => (await button(page, 'Upload firmware').click(), await choose(page, 'Chip'))],
    'firmware-refused': ['firmware', async (page) => {
      await button(page, 'Upload firmware').click();
      await page.locator('input[type=file]').setInputFiles({ name: 'a.bin', mimeType: 'application/octet-stream', buffer: Buffer.from('PK\x03\x04') });
      await page.getByRole('alert').waitFor();
    }],
    'firmware-delete': [`firmware/${ids.firmware}`, async (page) => (await button(page, 'Delete').click(), await dialog(page))],
    'new-rollout-policy': [`rollouts/new?firmware_id=${ids.firmware}`, (page) => choose(page, 'Policy')],
    'new-rollout-tags': [`rollouts/new?firmware_id=${ids.firmware}`, async (page) => {
      await type(page, 'Tags', 'site:hall-1');
      await page.keyboard.press('Enter');
      await type(page, 'Tags', 's');
      await page.getByRole('textbox', { name: 'Device ids' }).fill('1 x');
      await page.getByRole('textbox', { name: 'Parameters, as JSON' }).fill('{');
    }],
    'new-rollout-simulated': [`rollouts/new?firmware_id=${ids.firmware}`, async (page) => {
      for (const words of ['Stage by stage', 'Decisions on stages']) await page.getByText(words, { exact: true }).click();
      await page.getByRole('radio', { name: 'At a time' }).check();
    }],
    'rollout-pause': [`rollouts/${ids.going}`, async (page) => (await button(page, 'Pause').click(), await dialog(page))],
    'rollout-rollback': [`rollouts/${ids.ended}`, async (page) => (await button(page, 'Roll back').click(), await dialog(page))],
    'rollout-replay': [`rollouts/${ids.ended}`, async (page) => (await button(page, 'Replay').click(), await button(page, 'Replay again').waitFor())],
    'policies-new': ['policies', async (page) => {
      await button(page, 'New policy').click();
      await dialog(page);
      await page.getByRole('textbox', { name: 'Name' }).fill('Wrong name');
      await choose(page, 'Begin with');
    }],
    'policy-simulated': ['policies/canary', async (page) => {
      await button(page, 'Simulate').click();
      for (const words of ['Stage by stage', 'Decisions on stages']) await page.getByText(words, { exact: true }).click();
    }],
    'policy-replay': ['policies/canary?tab=replay', async (page) => (await button(page, 'Replay').click(), await button(page, 'Replay again').waitFor())],
    'policy-tests': ['policies/canary?tab=tests', (page) => page.getByText('Source of the tests').click()],
    'policy-revisions': ['policies/canary?tab=revisions', (page) => page.getByText('in force', { exact: true }).waitFor()],
    'policy-activate': ['policies/canary', async (page) => (await edit(page), await button(page, 'Activate').click(), await dialog(page))],
    'policy-errors': ['policies/canary', async (page) => {
      await page.locator('.cm-content').first().click();
      await page.keyboard.press('Control+Home');
      await page.keyboard.insertText('x = = 1\n');
      await page.getByText('1 error').waitFor();
    }],
    'policy-completion': ['policies/canary', async (page) => {
      await page.locator('.cm-content').first().click();
      await page.keyboard.press('Control+Home');
      await page.keyboard.insertText('local function f(device) return device.');
      await page.keyboard.press('Control+Space');
      await page.locator('.cm-tooltip-autocomplete').waitFor();
    }],
    'policy-leave': ['policies/canary', async (page) => {
      await edit(page);
      await page.locator('.brand').click();
      await dialog(page);
    }],
    'audit-who': ['audit', (page) => choose(page, 'Who')],
    'audit-details': ['audit', (page) => button(page, /^Details/).first().click()],
    'users-menu': ['users', (page) => button(page, /^Actions for/).first().click()],
    'users-role': ['users', async (page) => {
      await button(page, /^Actions for/).first().click();
      await page.getByRole('menuitem', { name: /operator/ }).click();
      await dialog(page);
    }],
  };
}
