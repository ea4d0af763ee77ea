// Two people changed the same text. Loaded with the editor only.
import { Chunk } from '@codemirror/merge';
import { Text } from '@codemirror/state';

const OPTIONS = { scanLimit: 5000 };

const textOf = (source: string) => Text.of(source.split('\n'));

export interface Merged {
  text: string;
  /** Places that both changed, differently: there it has what is mine. */
  conflicts: number;
}

/** What became of `base` in `theirs` and in `mine` together, by lines. */
export function merge(base: string, mine: string, theirs: string): Merged {
  const [from, my, their] = [textOf(base), textOf(mine), textOf(theirs)];
  const myChunks = Chunk.build(from, my, OPTIONS);
  const theirChunks = Chunk.build(from, their, OPTIONS);
  // Of theirs, those are taken that meet none of mine; two insertions at the same place meet, too.
  const meet = (a: Chunk, b: Chunk) => a.fromA === b.fromA || (a.fromA < b.toA && b.fromA < a.toA);
  const taken = theirChunks.filter((chunk) => !myChunks.some((one) => meet(one, chunk)));
  const conflicts = myChunks.filter((one) =>
    theirChunks.some((chunk) => meet(one, chunk) && changed(my, one) !== changed(their, chunk)),
  ).length;

  const edits = [
    ...myChunks.map((chunk) => ({ chunk, text: changed(my, chunk) })),
    ...taken.map((chunk) => ({ chunk, text: changed(their, chunk) })),
  ].sort((a, b) => a.chunk.fromA - b.chunk.fromA);
  const source = `${base}\n`; // every line has an end: chunks reach one past it
  let text = '';
  let at = 0;
  for (const { chunk, text: inserted } of edits) {
    text += source.slice(at, chunk.fromA) + inserted;
    at = chunk.toA;
  }
  text += source.slice(at);
  return { text: text.replace(/\n$/, ''), conflicts };
}

/** What a chunk puts in the place of what was there, with the ends of its lines. */
function changed(text: Text, chunk: Chunk): string {
  return `${text.toString()}\n`.slice(chunk.fromB, chunk.toB);
}

/** How many lines of `before` are gone in `after`, and how many are new. */
export function changedLines(before: string, after: string): { added: number; removed: number } {
  const [a, b] = [textOf(before), textOf(after)];
  const count = (text: Text, from: number, to: number) =>
    to > from ? text.lineAt(Math.min(to - 1, text.length)).number - text.lineAt(from).number + 1 : 0;
  let added = 0;
  let removed = 0;
  for (const chunk of Chunk.build(a, b, OPTIONS)) {
    removed += count(a, chunk.fromA, chunk.toA);
    added += count(b, chunk.fromB, chunk.toB);
  }
  return { added, removed };
}
