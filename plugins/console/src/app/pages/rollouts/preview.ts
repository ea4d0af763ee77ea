import { httpResource } from '@angular/common/http';
import { ChangeDetectionStrategy, Component, computed, effect, input, linkedSignal, signal } from '@angular/core';
import { MatProgressBarModule } from '@angular/material/progress-bar';
import { Simulation, Target } from '../../core/models';
import { ASSUMED, Assumptions, assumptionsOf } from '../../simulation/assumptions';
import { SimulationResult } from '../../simulation/result';
import { Problem } from '../../ui/notice';

export interface Planned {
  policy: string;
  firmware_id: number;
  target?: Target;
  params?: Record<string, unknown>;
  start: string;
}

const QUIET = 500; // ms without a change before it is asked

/** What a planned rollout would do, by simulation, while it is being planned. */
@Component({
  selector: 'otad-preview',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Assumptions, MatProgressBarModule, Problem, SimulationResult],
  templateUrl: './preview.html',
  styles: `
    :host {
      display: grid;
      gap: 14px;
      grid-template-columns: minmax(0, 1fr);
    }
    header {
      display: flex;
      flex-wrap: wrap;
      justify-content: space-between;
      gap: 4px 12px;
    }
  `,
})
export class RolloutPreview {
  /** Null: it is not said yet what is rolled out, and how. */
  readonly planned = input.required<Planned | null>();

  protected readonly assumed = signal(ASSUMED);
  private readonly wanted = computed(() => {
    const assumptions = assumptionsOf(this.assumed());
    const planned = this.planned();
    return planned && assumptions && JSON.stringify({ ...planned, ...assumptions });
  });
  private readonly asked = signal<string | null>(null);
  protected readonly answer = httpResource<Simulation>(() => {
    const body = this.asked();
    return body ? { url: '/policies/simulate', method: 'POST', body: JSON.parse(body) } : undefined;
  });
  /** The last answer, which stays until the next has come. */
  protected readonly preview = linkedSignal<Simulation | null, Simulation | null>({
    source: () => (this.answer.hasValue() ? this.answer.value()! : null),
    computation: (fresh, previous) =>
      fresh ?? (this.asked() && !this.answer.error() ? (previous?.value ?? null) : null),
  });
  protected readonly waiting = computed(() => this.answer.isLoading() || this.wanted() !== this.asked());

  constructor() {
    effect((cleanup) => {
      const wanted = this.wanted();
      const timer = setTimeout(() => this.asked.set(wanted), QUIET);
      cleanup(() => clearTimeout(timer));
    });
  }
}
