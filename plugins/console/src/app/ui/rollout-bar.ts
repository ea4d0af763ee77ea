import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { count } from '../core/format';
import { Rollout } from '../core/models';
import { Bar, Segment } from './bar';

type Standing = Pick<Rollout, 'state' | 'counts'>;

/** Whether the counts are those of the way back. */
export function goesBack({ state }: Pick<Rollout, 'state'>): boolean {
  return state === 'rolling_back' || state === 'rolled_back';
}

/** How many devices did not do well; on the way back `rolled_back` is how it goes well. */
export function badOf({ state, counts }: Standing): number {
  const { failed, rolled_back, rejected, timed_out, vanished } = counts;
  return failed + rejected + timed_out + vanished + (goesBack({ state }) ? 0 : rolled_back);
}

/** How many devices it has brought to where it goes. */
export function goodOf({ state, counts }: Standing): number {
  return counts.succeeded + (goesBack({ state }) ? counts.rolled_back : 0);
}

/** "12 of 63 succeeded, 1 failed" */
export function progressOf(rollout: Standing): string {
  const { targeted, excluded } = rollout.counts;
  if (!targeted) return excluded ? 'No device can have it' : 'No device is targeted';
  const bad = badOf(rollout);
  const good = `${count(goodOf(rollout))} of ${count(targeted)} ${goesBack(rollout) ? 'back' : 'succeeded'}`;
  return bad ? `${good}, ${count(bad)} failed` : good;
}

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
