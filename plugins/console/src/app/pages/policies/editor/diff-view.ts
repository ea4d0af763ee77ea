import {
  ChangeDetectionStrategy,
  Component,
  computed,
  CSP_NONCE,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  input,
  model,
  resource,
  signal,
  viewChild,
} from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { counted } from '../../../core/format';
import { kept } from '../../../core/kept';
import { Loading, Problem } from '../../../ui/notice';

/** What changed from one text to another, line by line, in one column; `takeBack` lets changes be taken back one by one. */
@Component({
  selector: 'otad-diff',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Loading, MatButtonModule, Problem],
  template: `@if (setup.error(); as error) {
      <otad-problem [error]="error" (retry)="setup.reload()" />
    } @else if (!setup.value()) {
      <otad-loading />
    }
    <div class="words">
      <p class="muted" role="status">{{ words() }}</p>
      @if (!same() && long()) {
        <button matButton type="button" (click)="whole.set(!whole())">
          {{ whole() ? 'Show changes only' : 'Show all lines' }}
        </button>
      }
    </div>
    <div #frame class="frame" [hidden]="same() && !takeBack()"></div>`,
  styleUrl: './editor.scss',
  host: { class: 'diff' },
})
export class DiffView {
  private readonly nonce = inject(CSP_NONCE, { optional: true });
  private readonly frame = viewChild.required<ElementRef<HTMLElement>>('frame');
  protected readonly setup = kept(resource({ loader: () => import('./setup') }));

  readonly before = input.required<string>();
  readonly after = model.required<string>();
  readonly label = input.required<string>();
  readonly takeBack = input<string | null>(null);

  protected readonly whole = signal(false);
  protected readonly same = computed(() => this.before() === this.after());
  private readonly lines = computed(() => this.setup.value()?.changedLines(this.before(), this.after()) ?? null);
  protected readonly words = computed(() => {
    if (this.same()) return 'Nothing differs.';
    const lines = this.lines();
    return lines ? `${counted(lines.added, 'line')} added, ${counted(lines.removed, 'line')} removed.` : '';
  });
  /** Whether there are lines to hide. */
  protected readonly long = computed(() => this.after().split('\n').length - (this.lines()?.added ?? 0) > 8);

  constructor() {
    let view: { destroy(): void; state: { doc: { toString(): string } } } | null = null;
    let shown: unknown[] = [];
    effect(() => {
      const setup = this.setup.value();
      const [before, after, whole] = [this.before(), this.after(), this.whole()];
      if (!setup) return;
      const next = [before, whole];
      const same = next.every((value, i) => value === shown[i]);
      if (same && view?.state.doc.toString() === after) return; // it was changed in the view itself
      view?.destroy();
      shown = next;
      view = setup.createDiff({
        parent: this.frame().nativeElement,
        before,
        after,
        label: this.label(),
        nonce: this.nonce,
        collapse: !whole,
        takeBack: this.takeBack(),
        changed: (text) => this.after.set(text),
      });
    });
    inject(DestroyRef).onDestroy(() => view?.destroy());
  }
}
