import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { count } from '../core/format';
import { RolloutCounts } from '../core/models';

export interface Segment {
  kind: 'succeeded' | 'under-way' | 'failed' | 'held' | 'left-out' | 'waiting';
  words: string;
  n: number;
}

/** How the devices of a rollout stand, in the order of the bar; what is nobody's is left out. */
export function segmentsOf(counts: RolloutCounts): Segment[] {
  const all: Segment[] = [
    { kind: 'succeeded', words: 'succeeded', n: counts.succeeded },
    { kind: 'under-way', words: 'under way', n: counts.under_way },
    {
      kind: 'failed',
      words: 'failed',
      n: counts.failed + counts.rolled_back + counts.rejected + counts.timed_out + counts.vanished,
    },
    { kind: 'held', words: 'held', n: counts.held },
    { kind: 'left-out', words: 'skipped or cancelled', n: counts.skipped + counts.cancelled },
    { kind: 'waiting', words: 'waiting', n: counts.waiting },
  ];
  return all.filter(({ n }) => n > 0);
}

/** The devices of a rollout as a bar of segments, said in words, too; with `legend` they stand below it. */
@Component({
  selector: 'otad-rollout-bar',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div class="bar" role="img" [attr.aria-label]="words()">
      @for (segment of segments(); track segment.kind) {
        <i [class]="segment.kind" [style.flex-grow]="segment.n"></i>
      }
    </div>
    @if (legend()) {
      <ul aria-hidden="true">
        @for (segment of segments(); track segment.kind) {
          <li>
            <i [class]="segment.kind"></i><strong class="number">{{ number(segment.n) }}</strong> {{ segment.words }}
          </li>
        }
      </ul>
    }`,
  styles: `
    :host {
      display: grid;
      gap: 8px;
      min-width: 0;
    }
    .bar {
      display: flex;
      gap: 2px;
      height: 8px;
      border-radius: 4px;
      overflow: hidden;
      background: var(--quiet-soft);
    }
    .bar i {
      flex: 0 1 0;
      min-width: 3px;
      transition: flex-grow 0.4s ease-out;
    }
    .succeeded {
      background: var(--good);
    }
    .under-way {
      background: var(--accent);
    }
    .failed {
      background: var(--bad);
    }
    .held {
      background: repeating-linear-gradient(135deg, var(--warn) 0 3px, var(--warn-soft) 3px 6px);
    }
    .left-out {
      background: var(--line-strong);
    }
    .waiting {
      background: var(--line);
    }
    ul {
      display: flex;
      flex-wrap: wrap;
      gap: 2px 16px;
      list-style: none;
      font-size: 13px;
    }
    li i {
      display: inline-block;
      width: 10px;
      height: 10px;
      margin-right: 6px;
      border-radius: 3px;
    }
  `,
})
export class RolloutBar {
  readonly counts = input.required<RolloutCounts>();
  readonly legend = input(false);
  protected readonly number = count;
  protected readonly segments = computed(() => segmentsOf(this.counts()));
  protected readonly words = computed(() => {
    const { targeted } = this.counts();
    if (!targeted) return 'No device is targeted';
    return `Of ${count(targeted)} devices: ${this.segments()
      .map(({ n, words }) => `${count(n)} ${words}`)
      .join(', ')}`;
  });
}
