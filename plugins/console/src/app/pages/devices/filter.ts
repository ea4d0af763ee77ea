// The filter of the list as the address of the page writes it, and back.
import { duration } from '../../core/format';
import { DeviceFilter } from '../../core/models';

export const SILENCES = [
  { seconds: 3600, text: 'an hour' },
  { seconds: 86_400, text: 'a day' },
  { seconds: 7 * 86_400, text: 'a week' },
  { seconds: 30 * 86_400, text: 'a month' },
];

/** Texts of the query that mean nothing are left out. */
export function filterOf(query: Record<string, string | undefined>): DeviceFilter {
  const filter: DeviceFilter = {};
  if (query['q']) filter.q = query['q'].slice(0, 100);
  if (query['chip']) filter.chip = query['chip'];
  if (query['tag'] && /^[^:]+:/.test(query['tag'])) filter.tag = query['tag'];
  if (query['version']) filter.version = query['version'];
  if (query['online'] === 'true' || query['online'] === 'false') filter.online = query['online'] === 'true';
  if (query['update'] === 'under_way' || query['update'] === 'failed') filter.update = query['update'];
  for (const name of ['silent_for', 'heard_within', 'battery_below', 'firmware_id'] as const) {
    const number = Number(query[name]);
    if (Number.isInteger(number) && number > 0) filter[name] = number;
  }
  return filter;
}

export function queryOf(filter: DeviceFilter): Record<string, string> {
  return Object.fromEntries(
    Object.entries(filter)
      .filter(([, value]) => value !== undefined && value !== '')
      .map(([name, value]) => [name, `${value}`]),
  );
}

function span(seconds: number): string {
  return SILENCES.find((silence) => silence.seconds === seconds)?.text ?? duration(seconds);
}

/** "online, chip esp32, 1.2.0": for people. */
export function filterWords(filter: DeviceFilter): string {
  const words = [];
  if (filter.q) words.push(`matching “${filter.q}”`);
  if (filter.online !== undefined) words.push(filter.online ? 'online' : 'offline');
  if (filter.update) words.push(filter.update === 'failed' ? 'last update failed' : 'updating');
  if (filter.chip) words.push(filter.chip);
  if (filter.version) words.push(`version ${filter.version}`);
  if (filter.tag) words.push(filter.tag);
  if (filter.firmware_id) words.push(`running firmware ${filter.firmware_id}`);
  if (filter.silent_for) words.push(`silent for ${span(filter.silent_for)}`);
  if (filter.heard_within) words.push(`seen within ${span(filter.heard_within)}`);
  if (filter.battery_below) words.push(`battery below ${filter.battery_below} %`);
  return words.join(', ');
}
