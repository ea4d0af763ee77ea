import { filterOf, filterWords, queryOf } from './filter';

describe('filter of the devices', () => {
  it('goes to the address and comes back the same', () => {
    const filter = {
      q: 'desk',
      chip: 'esp32',
      tag: 'site:hall-1',
      online: false,
      version: '1.2.0',
      silent_for: 3600,
      firmware_id: 7,
    };
    expect(filterOf(queryOf(filter))).toEqual(filter);
  });

  it('leaves out what means nothing', () => {
    expect(
      filterOf({ online: 'maybe', tag: 'notag', silent_for: '-3', firmware_id: 'x', update: 'odd', q: '' }),
    ).toEqual({});
  });

  it('keeps colons in the value of a tag', () => {
    expect(filterOf({ tag: 'mac:aa:bb' }).tag).toBe('mac:aa:bb');
  });

  it('is told in words', () => {
    expect(filterWords({ q: 'a', online: true, update: 'failed', silent_for: 86400 })).toBe(
      'matching “a”, online, last update failed, silent for a day',
    );
  });
});
