import { changedLines, merge } from './merge';

const BASE = 'one\ntwo\nthree\nfour\nfive\n';

describe('merge', () => {
  it('takes what each changed elsewhere', () => {
    const merged = merge(BASE, BASE.replace('one', 'ONE'), BASE.replace('five', 'FIVE\nsix'));
    expect(merged).toEqual({ text: 'ONE\ntwo\nthree\nfour\nFIVE\nsix\n', conflicts: 0 });
  });

  it('keeps mine where both changed the same', () => {
    const merged = merge(BASE, BASE.replace('three', 'mine'), BASE.replace('three', 'theirs'));
    expect(merged).toEqual({ text: BASE.replace('three', 'mine'), conflicts: 1 });
  });

  it('has no conflict where both did the same', () => {
    const both = BASE.replace('two', '2');
    expect(merge(BASE, both, both)).toEqual({ text: both, conflicts: 0 });
  });

  it('takes deletions and additions', () => {
    expect(merge(BASE, BASE.replace('two\n', ''), `zero\n${BASE}`).text).toBe('zero\none\nthree\nfour\nfive\n');
    expect(merge('', 'a\n', '').text).toBe('a\n');
    expect(merge(BASE, BASE, '').text).toBe('');
  });

  it('takes a last line without an end', () => {
    expect(merge('a\nb\nc', 'A\nb\nc', 'a\nb\nc\nd').text).toBe('A\nb\nc\nd');
    expect(merge('a\nb\nc', 'a\nb\nc\n', 'A\nb\nc').text).toBe('A\nb\nc\n');
  });
});

describe('changedLines', () => {
  it('counts', () => {
    expect(changedLines(BASE, BASE)).toEqual({ added: 0, removed: 0 });
    expect(changedLines(BASE, BASE.replace('two', '2').replace('five\n', 'five\nsix\n'))).toEqual({
      added: 2,
      removed: 1,
    });
    expect(changedLines(BASE, BASE.replace('two\nthree\n', ''))).toEqual({ added: 0, removed: 2 });
  });
});
