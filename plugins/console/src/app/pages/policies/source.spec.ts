import { PolicyProblem } from '../../core/models';
import { mergeProblems, nameProblem, problemWords, ranges } from './source';

const problem = (line: number | null, message: string, severity: 'error' | 'warning' = 'error'): PolicyProblem => ({
  line,
  message,
  severity,
});

describe('nameProblem', () => {
  it('takes what the server takes', () => {
    for (const name of ['a', 'canary', 'night_window_2', 'a'.repeat(32)]) expect(nameProblem(name)).toBeNull();
    for (const name of [
      '',
      '2nd',
      '_a',
      'Canary',
      'a-b',
      'a b',
      'a'.repeat(33),
      'canary_test',
      'check',
      'fields',
      'simulate',
    ])
      expect(nameProblem(name)).toBeTruthy();
  });
});

describe('mergeProblems', () => {
  it('sorts by line, errors first, each once', () => {
    const merged = mergeProblems(
      [problem(7, 'unused', 'warning'), problem(7, 'unknown field'), problem(null, 'too long')],
      [problem(7, 'unknown field', 'warning'), problem(2, 'syntax')],
    );
    expect(merged.map(({ line, message, severity }) => [line, message, severity])).toEqual([
      [null, 'too long', 'error'],
      [2, 'syntax', 'error'],
      [7, 'unknown field', 'error'],
      [7, 'unused', 'warning'],
    ]);
  });

  it('keeps the worse of two that say the same', () => {
    expect(mergeProblems([problem(1, 'x', 'warning')], [problem(1, 'x')])).toEqual([problem(1, 'x')]);
  });

  it('is said in words', () => {
    expect(problemWords([])).toBe('No problems');
    expect(problemWords([problem(1, 'a'), problem(1, 'b', 'warning'), problem(2, 'c', 'warning')])).toBe(
      '1 error, 2 warnings',
    );
  });
});

describe('ranges', () => {
  it('joins lines that follow each other', () => {
    expect(ranges([9, 1, 2, 3, 7])).toEqual([
      { from: 1, to: 3 },
      { from: 7, to: 7 },
      { from: 9, to: 9 },
    ]);
    expect(ranges([])).toEqual([]);
  });
});
