// CodeMirror as policies need it. Loaded when an editor is shown: import() this file only.
import { indentWithTab } from '@codemirror/commands';
import { HighlightStyle, indentUnit, StreamLanguage, syntaxHighlighting } from '@codemirror/language';
import { lua } from '@codemirror/legacy-modes/mode/lua';
import { Diagnostic, lintGutter, setDiagnostics } from '@codemirror/lint';
import { goToNextChunk, goToPreviousChunk, unifiedMergeView } from '@codemirror/merge';
import { EditorState, Extension, StateEffect, StateField, Text } from '@codemirror/state';
import { Decoration, DecorationSet, EditorView, gutter, GutterMarker, keymap } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { basicSetup } from 'codemirror';
import { PolicyProblem } from '../../../core/models';
import { PolicyFields, suggest } from '../completion';
import { theme } from './theme';

export { changedLines, merge } from '../merge';

const colours = HighlightStyle.define([
  { tag: tags.comment, color: 'var(--code-comment)', fontStyle: 'italic' },
  { tag: tags.keyword, color: 'var(--code-keyword)', fontWeight: '550' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.atom], color: 'var(--code-number)' },
  { tag: [tags.standard(tags.variableName), tags.standard(tags.name)], color: 'var(--code-builtin)' },
]);

const language: Extension = [
  StreamLanguage.define({
    ...lua,
    languageData: { ...lua.languageData, closeBrackets: { brackets: ['(', '[', '{', '"'] } },
  }),
  syntaxHighlighting(colours),
  indentUnit.of('  '),
];

const markLine = StateEffect.define<number | null>();
const markedLine = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    let next = transaction.docChanged ? Decoration.none : marks; // it has been seen to
    for (const effect of transaction.effects) {
      if (!effect.is(markLine)) continue;
      const { doc } = transaction.state;
      const line = effect.value && effect.value >= 1 && effect.value <= doc.lines ? doc.line(effect.value) : null;
      next = line ? Decoration.set(Decoration.line({ class: 'cm-marked' }).range(line.from)) : Decoration.none;
    }
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

class Missed extends GutterMarker {
  override toDOM(): HTMLElement {
    const mark = document.createElement('span');
    mark.className = 'cm-missed';
    mark.title = 'No test ran this line';
    return mark;
  }
}
const missed = new Missed();
const missLines = StateEffect.define<number[]>();
const missedLines = StateField.define<number[]>({
  create: () => [],
  update(lines, transaction) {
    // Of another text than was tested they say nothing.
    const before = transaction.docChanged ? [] : lines;
    return transaction.effects.reduce((all, effect) => (effect.is(missLines) ? effect.value : all), before);
  },
});
const coverage: Extension = [
  missedLines,
  gutter({
    class: 'cm-coverage',
    lineMarker: (view, block) =>
      view.state.field(missedLines).includes(view.state.doc.lineAt(block.from).number) ? missed : null,
    lineMarkerChange: (update) => update.startState.field(missedLines) !== update.state.field(missedLines),
  }),
];

export interface EditorOptions {
  parent: HTMLElement;
  text: string;
  label: string;
  describedBy: string;
  nonce: string | null;
  readonly: boolean;
  fields: () => PolicyFields | null;
  changed: (text: string) => void;
  save: () => void;
}

export function createEditor(options: EditorOptions): EditorView {
  // The same list each time, or CodeMirror takes it for a new one and asks again.
  const data = [
    {
      autocomplete: (context: { state: EditorState; pos: number; explicit: boolean }) => {
        const found = suggest(context.state.doc.toString(), context.pos, context.explicit, options.fields());
        return found && { ...found, validFor: /^\w*$/ };
      },
    },
  ];
  const completion = EditorState.languageData.of(() => data);
  return new EditorView({
    parent: options.parent,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        options.nonce ? EditorView.cspNonce.of(options.nonce) : [],
        keymap.of([{ key: 'Mod-s', run: () => (options.save(), true), preventDefault: true }]),
        basicSetup,
        keymap.of([indentWithTab]), // Escape, then Tab, leaves: CodeMirror's own
        language,
        options.readonly ? EditorState.readOnly.of(true) : [completion, lintGutter()],
        markedLine,
        coverage,
        theme,
        EditorView.contentAttributes.of({
          'aria-label': options.label,
          tabindex: '0',
          'aria-describedby': options.describedBy,
          ...(options.readonly ? { 'aria-readonly': 'true' } : {}),
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.changed(update.state.doc.toString());
        }),
      ],
    }),
  });
}

/** Changes what differs only, so that the cursor, the view and what can be undone stay. */
export function replaceText(view: EditorView, text: string): void {
  const now = view.state.doc.toString();
  if (now === text) return;
  let from = 0;
  while (from < now.length && now[from] === text[from]) from++;
  let end = 0;
  while (end < Math.min(now.length, text.length) - from && now.at(-1 - end) === text.at(-1 - end)) end++;
  view.dispatch({ changes: { from, to: now.length - end, insert: text.slice(from, text.length - end) } });
  view.scrollDOM.scrollLeft = 0;
}

/** Where the server's problems are in the text: the word at a column, else the line. */
export function diagnostics(doc: Text, problems: PolicyProblem[]): Diagnostic[] {
  return problems.map(({ line: number, column, severity, message }) => {
    const line = doc.line(Math.min(Math.max(number ?? 1, 1), doc.lines));
    const indent = /^\s*/.exec(line.text)![0].length;
    const from = line.from + Math.min(column ? column - 1 : indent, line.length);
    const word = /^("[^"]*"|'[^']*'|[\w.]+)/.exec(line.text.slice(from - line.from))?.[0].length;
    return { from, to: column && word ? from + word : line.to, severity, message };
  });
}

export function showProblems(view: EditorView, problems: PolicyProblem[]): void {
  view.dispatch(setDiagnostics(view.state, diagnostics(view.state.doc, problems)));
}

export function showMissed(view: EditorView, lines: number[]): void {
  view.dispatch({ effects: missLines.of(lines) });
}

/** Marks a line and brings it into view; with `focus` the cursor goes there, too. */
export function showLine(view: EditorView, number: number | null, focus: boolean, column?: number | null): void {
  const { doc } = view.state;
  if (!number || number < 1 || number > doc.lines) {
    view.dispatch({ effects: markLine.of(null) });
    return;
  }
  const line = doc.line(number);
  const at = line.from + Math.min(Math.max((column ?? 1) - 1, 0), line.length);
  view.dispatch({
    selection: { anchor: at },
    effects: [markLine.of(number), EditorView.scrollIntoView(at, { y: 'center' })],
  });
  if (focus) view.focus();
}

export interface DiffOptions {
  parent: HTMLElement;
  before: string;
  after: string;
  label: string;
  nonce: string | null;
  collapse: boolean;
  /** Words for taking back a change; with them the text can be changed. */
  takeBack: string | null;
  changed: (text: string) => void;
}

export function createDiff(options: DiffOptions): EditorView {
  const button = (text: string, take: (event: MouseEvent) => void) => {
    const action = (event: MouseEvent) => {
      take(event);
      view.focus(); // the button is gone with its change
    };
    const element = document.createElement('button');
    element.type = 'button';
    element.className = 'cm-take';
    element.textContent = text;
    element.onmousedown = action;
    // The library listens to the mouse; a keyboard clicks.
    element.onclick = (event) => event.detail === 0 && action(event);
    return element;
  };
  const view: EditorView = new EditorView({
    parent: options.parent,
    state: EditorState.create({
      doc: options.after,
      extensions: [
        options.nonce ? EditorView.cspNonce.of(options.nonce) : [],
        basicSetup,
        language,
        theme,
        keymap.of([
          { key: 'F7', run: goToNextChunk },
          { key: 'Shift-F7', run: goToPreviousChunk },
        ]),
        options.takeBack ? [] : EditorState.readOnly.of(true),
        unifiedMergeView({
          original: options.before,
          ...(options.collapse ? { collapseUnchanged: { margin: 3, minSize: 6 } } : {}),
          syntaxHighlightDeletions: true,
          diffConfig: { scanLimit: 5000 },
          mergeControls: options.takeBack
            ? (type, action) => (type === 'reject' ? button(options.takeBack!, action) : document.createElement('span'))
            : false,
        }),
        EditorView.contentAttributes.of({
          'aria-label': options.label,
          tabindex: '0',
          ...(options.takeBack ? {} : { 'aria-readonly': 'true' }),
        }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  return view;
}
