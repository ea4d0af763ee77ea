import { httpResource } from '@angular/common/http';
import { ChangeDetectionStrategy, Component, computed, effect, input, linkedSignal, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatProgressBarModule } from '@angular/material/progress-bar';
import { count, counted } from '../../core/format';
import { Target } from '../../core/models';
import { Problem } from '../../ui/notice';
import { PreviewChart } from './preview-chart';
import { outcomeWords, Preview } from './preview-words';
import { Reasons } from './reasons';

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
  imports: [FormsModule, MatFormFieldModule, MatInputModule, MatProgressBarModule, PreviewChart, Problem, Reasons],
  templateUrl: './preview.html',
  styleUrl: './preview.scss',
})
export class RolloutPreview {
  /** Null: it is not said yet what is rolled out, and how. */
  readonly planned = input.required<Planned | null>();

  protected readonly number = count;
  protected readonly counted = counted;
  /** Percent, and seconds. */
  protected readonly failures = signal<number | null>(1);
  protected readonly takes = signal<number | null>(60);
  /** Pauses after which somebody resumes. */
  protected readonly resumes = signal<number | null>(0);

  private readonly wanted = computed(() => {
    const planned = this.planned();
    const failures = this.failures();
    const takes = this.takes();
    if (!planned || failures === null || failures < 0 || failures > 100 || takes === null || takes < 1) return null;
    const resumes = Math.min(Math.max(Math.trunc(this.resumes() ?? 0), 0), 1000);
    return JSON.stringify({ ...planned, resumes, assume: { failure_rate: failures / 100, duration_s: takes } });
  });
  private readonly asked = signal<string | null>(null);
  protected readonly answer = httpResource<Preview>(() => {
    const body = this.asked();
    return body ? { url: '/policies/simulate', method: 'POST', body: JSON.parse(body) } : undefined;
  });
  /** The last answer, which stays until the next has come. */
  protected readonly preview = linkedSignal<Preview | null, Preview | null>({
    source: () => (this.answer.hasValue() ? this.answer.value()! : null),
    computation: (fresh, previous) =>
      fresh ?? (this.asked() && !this.answer.error() ? (previous?.value ?? null) : null),
  });
  protected readonly waiting = computed(() => this.answer.isLoading() || this.wanted() !== this.asked());
  protected readonly words = computed(() => {
    const preview = this.preview();
    return preview ? outcomeWords(preview) : '';
  });
  protected readonly held = computed(() =>
    (this.preview()?.held ?? []).map(({ verdict, reason, count }) => ({ reason: reason ?? verdict, count })),
  );
  protected readonly good = computed(() => this.preview()?.outcome === 'completed');
  /** Of all that the target names, also beyond a sample. */
  protected readonly sampled = computed(() => {
    const fleet = this.preview()?.fleet;
    return fleet && !fleet.made_up && fleet.simulated < fleet.devices ? fleet : null;
  });

  constructor() {
    effect((cleanup) => {
      const wanted = this.wanted();
      const timer = setTimeout(() => this.asked.set(wanted), QUIET);
      cleanup(() => clearTimeout(timer));
    });
  }
}
