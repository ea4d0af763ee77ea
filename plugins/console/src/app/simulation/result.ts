import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { count, counted, percent } from '../core/format';
import { Simulation } from '../core/models';
import { Frame } from '../ui/frame';
import { PolicyLine } from '../ui/policy-line';
import { Reason, Reasons } from '../ui/reasons';
import { StateBadge } from '../ui/state-badge';
import { Course } from './course';
import { moment, outcomeOf } from './outcome';

/** What a simulated rollout came to: in words, drawn, and stage by stage. What is said of the devices goes on as its content. */
@Component({
  selector: 'otad-simulation',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Course, Frame, PolicyLine, Reasons, StateBadge],
  templateUrl: './result.html',
  styleUrl: './result.scss',
})
export class SimulationResult {
  readonly simulation = input.required<Simulation>();
  /** Its name, for who looks at what decided. */
  readonly policy = input.required<string>();

  protected readonly count = count;
  protected readonly counted = counted;
  protected readonly percent = percent;
  protected readonly moment = moment;
  protected readonly outcome = computed(() => outcomeOf(this.simulation()));
  protected readonly held = computed(() =>
    this.simulation().held.map(({ reason, verdict, count, line }): Reason => ({
      reason: reason ?? (verdict === 'skip' ? 'skipped without a reason' : 'held without a reason'),
      count,
      line,
    })),
  );
}
