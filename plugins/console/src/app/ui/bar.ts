import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { Tone } from './states';

export interface Segment {
  value: number;
  tone: Tone;
  text: string;
}

/** Parts of a whole as one bar; what they are is its label, for who does not see it. */
@Component({
  selector: 'otad-bar',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div role="img" [attr.aria-label]="label()">
    @for (segment of shown(); track segment.text) {
      <i [class]="segment.tone" [style.flex-grow]="segment.value" [title]="segment.text"></i>
    }
    @if (rest() > 0) {
      <i class="rest" [style.flex-grow]="rest()"></i>
    }
  </div>`,
  styles: `
    div {
      display: flex;
      gap: 2px;
      height: 8px;
      border-radius: 4px;
      overflow: hidden;
      background: var(--quiet-soft);
    }
    i {
      flex: 0 1 0;
      min-width: 2px;
      background: var(--line-strong);
    }
    .good {
      background: light-dark(#2b8a47, #55b776);
    }
    .bad {
      background: light-dark(#d0413a, #ec8079);
    }
    .warn {
      background: light-dark(#e08a14, #e0a347);
    }
    .info {
      background: light-dark(#2a72e8, #6fa3f2);
    }
    .rest {
      background: none;
    }
  `,
})
export class Bar {
  readonly segments = input.required<Segment[]>();
  /** The whole; without, the sum of the segments. */
  readonly total = input<number>();

  protected readonly shown = computed(() => this.segments().filter(({ value }) => value > 0));
  protected readonly rest = computed(() => {
    const sum = this.segments().reduce((all, { value }) => all + value, 0);
    return Math.max(0, (this.total() ?? sum) - sum);
  });
  protected readonly label = computed(
    () =>
      this.segments()
        .filter(({ value }) => value > 0)
        .map(({ text }) => text)
        .join(', ') || 'nothing yet',
  );
}
