// What may stand at a place of a policy: names of the fields that a policy declares and is given (GET /policies/fields),
// verdicts, and else Lua's own words and those of the file.

export interface PolicyField {
  name: string;
  type: string;
  text: string;
  fields?: PolicyField[];
}

export type Subject = 'device' | 'rollout' | 'stats' | 'ctx';

export type PolicyFields = Record<Subject | 'policy', PolicyField[]> & {
  verdicts: Record<'admit' | 'advance', string[]>;
};

export interface Suggestion {
  label: string;
  type: 'property' | 'constant' | 'keyword' | 'variable' | 'function';
  detail?: string;
  info?: string;
  /** What is written instead of the label. */
  apply?: string;
}

export interface Suggestions {
  from: number;
  options: Suggestion[];
}

const KEYWORDS =
  'and break do else elseif end false for function if in local nil not or repeat return then true until while'.split(
    ' ',
  );
const LIBRARY = 'assert error ipairs math pairs pcall require select string table tonumber tostring type utf8'.split(
  ' ',
);

interface Open {
  /** A table, or a block that `end` closes. */
  kind: 'table' | 'block';
  /** The name that it is given, if any: `admit = function`, `stages = {`, `local function f`. */
  name: string | null;
}

export interface Place {
  open: Open[];
  /** Where the comment or text that the place is in begins; -1: in neither. */
  text: number;
  comment: boolean;
}

/** Reads Lua up to `pos`: what is open there. */
export function place(source: string, pos: number): Place {
  const open: Open[] = [];
  const token =
    /--\[(=*)\[[^]*?(?:\]\1\]|$)|--[^\n]*|\[(=*)\[[^]*?(?:\]\2\]|$)|"(?:\\[^]|[^"\\\n])*"?|'(?:\\[^]|[^'\\\n])*'?|[A-Za-z_]\w*|[{}]/g;
  for (let match = token.exec(source); match && match.index < pos; match = token.exec(source)) {
    const [word] = match;
    const end = match.index + word.length;
    if (/^(--|\[=*\[|["'])/.test(word)) {
      const comment = word.startsWith('--');
      const closed = comment ? /^--\[=*\[/.test(word) || source[end] === undefined : /["'\]]$/.test(word);
      if (pos < end || (pos === end && (comment ? !/\]=*\]$/.test(word) : !closed || word.length === 1)))
        return { open, text: match.index, comment };
      continue;
    }
    if (end > pos) break;
    const before = source.slice(0, match.index);
    const named = /([A-Za-z_]\w*)\s*=\s*$/.exec(before)?.[1] ?? null;
    if (word === '{') open.push({ kind: 'table', name: named });
    else if (word === 'function')
      open.push({ kind: 'block', name: named ?? /^\s*([A-Za-z_]\w*)/.exec(source.slice(end))?.[1] ?? null });
    else if (['if', 'do', 'repeat'].includes(word)) open.push({ kind: 'block', name: null });
    else if (['}', 'end', 'until'].includes(word)) open.pop();
  }
  return { open, text: -1, comment: false };
}

function fieldsAt(path: string[], fields: PolicyField[] | undefined): PolicyField[] {
  return (
    path.reduce<PolicyField[] | undefined>((list, name) => list?.find((f) => f.name === name)?.fields, fields) ?? []
  );
}

const HEADS: Record<string, string> = {
  admit: 'admit = function(device, rollout, ctx)\n    return "offer"\n  end,',
  advance: 'advance = function(rollout, stats, ctx)\n    return "hold"\n  end,',
};

function property(field: PolicyField): Suggestion {
  const type = field.type === 'function' ? 'function' : 'property';
  return { label: field.name, type, detail: field.type, info: field.text };
}

function key(field: PolicyField): Suggestion {
  return { ...property(field), apply: HEADS[field.name] ?? (field.fields ? `${field.name} = { ` : `${field.name} = `) };
}

function verdicts(fields: PolicyFields, open: Open[], quoted: boolean): Suggestion[] {
  const within = [...open]
    .reverse()
    .find(({ kind, name }) => kind === 'block' && (name === 'admit' || name === 'advance'))?.name;
  const names = within
    ? fields.verdicts[within as 'admit' | 'advance']
    : [...new Set([...fields.verdicts.admit, ...fields.verdicts.advance])];
  return names.map((label) => ({ label, type: 'constant', detail: 'verdict', apply: quoted ? label : `"${label}"` }));
}

/** The names that the file itself uses, but for the one that is being written. */
function words(source: string, from: number): Suggestion[] {
  const names = new Set<string>();
  const name = /\blocal\s+(?:function\s+)?([\w\s,]+?)(?==|$|\n|\()|\bfunction\b[^(\n]*\(([^)]*)\)/g;
  for (const match of source.matchAll(name)) {
    if (match.index <= from && from <= match.index + match[0].length) continue;
    for (const word of (match[1] ?? match[2]).split(/[\s,]+/)) if (/^[A-Za-z_]\w*$/.test(word)) names.add(word);
  }
  return [...names]
    .filter((label) => !KEYWORDS.includes(label))
    .map((label) => ({ label, type: 'variable' }) as Suggestion);
}

/** `explicit`: somebody asked, rather than only typed. Without `fields` there are Lua's words only. */
export function suggest(
  source: string,
  pos: number,
  explicit: boolean,
  fields: PolicyFields | null,
): Suggestions | null {
  const { open, text, comment } = place(source, pos);
  const before = source.slice(0, pos);
  if (comment) return null;
  if (text >= 0) {
    const verdict = fields && /\breturn\s+$/.test(source.slice(0, text)) && /^["']\w*$/.test(source.slice(text, pos));
    return verdict ? { from: text + 1, options: verdicts(fields, open, true) } : null;
  }

  const path = /(?:^|[^\w.])((?:[A-Za-z_]\w*\.)+)(\w*)$/.exec(before);
  if (path) {
    const [subject, ...inner] = path[1].slice(0, -1).split('.');
    const options =
      fields && ['device', 'rollout', 'stats', 'ctx'].includes(subject)
        ? fieldsAt(inner, fields[subject as Subject]).map(property)
        : [];
    return options.length ? { from: pos - path[2].length, options } : null;
  }

  const word = /\w*$/.exec(before)![0];
  const from = pos - word.length;
  if (/\d/.test(word[0] ?? '')) return null;
  if (fields && /\breturn\s+\w*$/.test(before)) {
    const options = verdicts(fields, open, false);
    if (open.length) return { from, options: [...options, ...(word ? words(source, from) : [])] };
  }
  if (!word && !explicit) return null;

  if (fields && open.at(-1)?.kind === 'table' && /[{,;]\s*$/.test(withoutComments(before.slice(0, from)))) {
    const names = open.slice(1).flatMap(({ name }) => name ?? []);
    const options = fieldsAt(names, fields.policy).map(key);
    if (options.length && open.every(({ kind }) => kind === 'table')) return { from, options };
  }
  const options: Suggestion[] = [
    ...words(source, from),
    ...KEYWORDS.map((label): Suggestion => ({ label, type: 'keyword' })),
    ...LIBRARY.map((label): Suggestion => ({ label, type: 'function' })),
  ];
  return { from, options };
}

function withoutComments(source: string): string {
  return source.replace(/--.*$/gm, '');
}
