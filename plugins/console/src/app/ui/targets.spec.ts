import { readIds, readTags, tagProblem, tidy, writeTags } from './targets';

describe('targets', () => {
  it('reads ids however they are separated, each once', () => {
    expect(readIds('1, 2;3\n 4\t2')).toEqual({ ids: [1, 2, 3, 4], wrong: [] });
    expect(readIds('')).toEqual({ ids: [], wrong: [] });
    expect(readIds('7 x 0 -1 1.5 2147483648')).toEqual({ ids: [7], wrong: ['x', '0', '-1', '1.5', '2147483648'] });
  });

  it('reads and writes tags; of one key the last holds', () => {
    expect(readTags(['site:a', 'path:b:c', 'site:d'])).toEqual({ site: 'd', path: 'b:c' });
    expect(writeTags({ site: 'd', path: 'b:c' })).toEqual(['site:d', 'path:b:c']);
    expect(writeTags(undefined)).toEqual([]);
    expect([tagProblem('site:a'), tagProblem('site'), tagProblem(':a')].map((problem) => !!problem)).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('leaves out what is empty', () => {
    expect(tidy({ chip: 'esp32', tags: {}, versions: [], device_ids: [] })).toEqual({ chip: 'esp32' });
    expect(tidy({ tags: {} })).toBeUndefined();
    expect(tidy({ tags: { a: 'b' }, device_ids: [1] })).toEqual({ tags: { a: 'b' }, device_ids: [1] });
  });
});
