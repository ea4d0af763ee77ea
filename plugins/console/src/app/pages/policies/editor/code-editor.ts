import {
  ChangeDetectionStrategy,
  Component,
  CSP_NONCE,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  input,
  model,
  output,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { PolicyProblem } from '../../../core/models';
import { Loading, Problem } from '../../../ui/notice';
import { PolicyFields } from '../completion';

type Setup = typeof import('./setup');
type View = ReturnType<Setup['createEditor']>;

let count = 0;

/** An editor for Lua. What it needs is loaded when the first one is shown. */
@Component({
  selector: 'otad-code-editor',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Loading, Problem],
  template: `@if (error()) {
      <otad-problem [error]="error()" (retry)="start()" />
    } @else if (!ready()) {
      <otad-loading [lines]="12" />
    }
    <div #frame class="frame"></div>
    <p class="visually-hidden" [id]="hint">
      {{
        readonly() ? 'Read only.' : 'Tab indents. Press Escape, then Tab, to leave the editor. Control Space completes.'
      }}
    </p>`,
  styleUrl: './editor.scss',
})
export class CodeEditor {
  private readonly nonce = inject(CSP_NONCE, { optional: true });
  private readonly frame = viewChild.required<ElementRef<HTMLElement>>('frame');
  private setup: Setup | null = null;
  private view: View | null = null;
  protected readonly hint = `editor-hint-${++count}`;
  protected readonly ready = signal(false);
  protected readonly error = signal<unknown>(null);

  readonly text = model.required<string>();
  readonly label = input.required<string>();
  readonly readonly = input(false);
  readonly problems = input<PolicyProblem[]>([]);
  /** Lines that no test ran. */
  readonly missed = input<number[]>([]);
  /** The line to be marked, and to be seen. */
  readonly line = input<number | null>(null);
  readonly fields = input<PolicyFields | null>(null);
  /** Control-S */
  readonly save = output();

  constructor() {
    let gone = false;
    inject(DestroyRef).onDestroy(() => {
      gone = true;
      this.view?.destroy();
    });
    effect(() => {
      this.readonly(); // another kind of editor
      untracked(() => this.start(() => gone));
    });
    this.when(
      () => this.text(),
      (setup, view, text) => setup.replaceText(view, text),
    );
    this.when(
      () => this.problems(),
      (setup, view, problems) => setup.showProblems(view, problems),
    );
    this.when(
      () => this.missed(),
      (setup, view, lines) => setup.showMissed(view, lines),
    );
    this.when(
      () => this.line(),
      (setup, view, line) => setup.showLine(view, line, false),
    );
  }

  private when<T>(value: () => T, show: (setup: Setup, view: View, value: T) => void): void {
    effect(() => {
      const now = value();
      if (this.ready() && this.setup && this.view) show(this.setup, this.view, now);
    });
  }

  protected async start(gone: () => boolean = () => false): Promise<void> {
    this.error.set(null);
    this.ready.set(false);
    try {
      this.setup = await import('./setup');
      if (gone()) return;
      this.view?.destroy();
      this.view = this.setup.createEditor({
        parent: this.frame().nativeElement,
        text: this.text(),
        label: this.label(),
        describedBy: this.hint,
        nonce: this.nonce,
        readonly: this.readonly(),
        fields: () => this.fields(),
        changed: (text) => this.text.set(text),
        save: () => this.save.emit(),
      });
      this.ready.set(true);
    } catch (error) {
      this.error.set(error);
    }
  }

  /** Marks a line, shows it, and puts the cursor there. */
  goTo(line: number, column?: number | null): void {
    if (this.view) this.setup?.showLine(this.view, line, true, column);
  }
}
