// What can be read out of a policy's source, name and problems without asking the server.
import { PolicyProblem } from '../../core/models';

/** What is wrong with the name of a new policy, or null: the rule of PUT /policies/:name. */
export function nameProblem(name: string): string | null {
  if (!name) return 'A name is needed.';
  if (!/^[a-z0-9_]+$/.test(name)) return 'Use a to z, 0 to 9 and _ only.';
  if (!/^[a-z]/.test(name)) return 'Begin with a letter from a to z.';
  if (name.length > 32) return 'Use at most 32 characters.';
  if (name.endsWith('_test')) return 'Names that end in _test are for tests.';
  if (['check', 'fields', 'simulate'].includes(name)) return 'This name is taken by the server.';
  return null;
}

/** As many digits as people compare. */
export function short(revision: string): string {
  return revision.slice(0, 8);
}

/** Who put a revision in force, in words. */
export function authorName(author: string | null): string {
  return author === 'file' ? 'a file' : (author ?? 'nobody known');
}

/** The same, to follow other words. */
export function byAuthor(author: string | null): string {
  return author === 'file' ? 'from a file' : `by ${authorName(author)}`;
}

/** The message of a revision, to follow other words. */
export function quoted(message: string | null): string {
  return message ? `: “${message}”` : '';
}

/** Several lists as one, in the order of the source, each problem once: errors before warnings of the same line. */
export function mergeProblems(...lists: PolicyProblem[][]): PolicyProblem[] {
  const seen = new Map<string, PolicyProblem>();
  for (const problem of lists.flat()) {
    const key = `${problem.line ?? 0}:${problem.message}`;
    const known = seen.get(key);
    if (!known || (known.severity === 'warning' && problem.severity === 'error')) seen.set(key, problem);
  }
  const rank = (problem: PolicyProblem) => (problem.severity === 'error' ? 0 : 1);
  return [...seen.values()].sort(
    (a, b) => (a.line ?? 0) - (b.line ?? 0) || rank(a) - rank(b) || (a.column ?? 0) - (b.column ?? 0),
  );
}

/** "No problems", "1 error, 2 warnings" */
export function problemWords(problems: PolicyProblem[]): string {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  const words = [
    errors && `${errors} error${errors === 1 ? '' : 's'}`,
    warnings && `${warnings} warning${warnings === 1 ? '' : 's'}`,
  ].filter(Boolean);
  return words.join(', ') || 'No problems';
}

export interface Range {
  from: number;
  to: number;
}

/** [1, 2, 3, 7] -> 1 to 3, 7 */
export function ranges(lines: number[]): Range[] {
  const all: Range[] = [];
  for (const line of [...lines].sort((a, b) => a - b)) {
    const last = all.at(-1);
    if (last && line <= last.to + 1) last.to = line;
    else all.push({ from: line, to: line });
  }
  return all;
}

/** A policy to begin with: every part that most policies have, and what it is for. */
export const MINIMAL = `-- Updates 10 % first, then all.
return {
  stages = {
    { name = "early", share = 0.10, soak = "2h" },    -- watched for two hours before the next stage
    { name = "all",   share = 1.00 },
  },
  max_failure = 0.05,                                 -- pauses when surely more than 5 % fail

  admit = function(device, rollout, ctx)              -- per device: "offer", "hold" or "skip", and why
    if (device.telemetry.battery or 100) < 30 then return "hold", "battery below 30 %" end
    return "offer"
  end,
}
`;
