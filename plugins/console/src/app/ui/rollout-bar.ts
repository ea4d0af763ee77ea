import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { badOf, goesBack, goodOf } from '../core/counts';
import { count } from '../core/format';
import { Rollout } from '../core/models';
import { Bar, Segment } from './bar';

type Standing = Pick<Rollout, 'state' | 'counts'>;

/** The devices of a rollout as a bar: succeeded, under way, failed, held, left out; what is empty of it waits. */
@Component({
  selector: 'otad-rollout-bar',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Bar],
  template: `<otad-bar [segments]="segments()" [total]="rollout().counts.targeted" />`,
})
export class RolloutBar {
  readonly rollout = input.required<Standing>();
  protected readonly segments = computed<Segment[]>(() => {
    const { counts } = this.rollout();
    const segment = (value: number, tone: Segment['tone'], words: string): Segment => ({
      value,
      tone,
      text: `${count(value)} ${words}`,
    });
    return [
      segment(goodOf(this.rollout()), 'good', goesBack(this.rollout()) ? 'back' : 'succeeded'),
      segment(counts.under_way, 'info', 'under way'),
      segment(badOf(this.rollout()), 'bad', 'failed'),
      segment(counts.held, 'warn', 'held'),
      segment(counts.skipped + counts.cancelled, 'quiet', 'skipped or cancelled'),
    ];
  });
}
