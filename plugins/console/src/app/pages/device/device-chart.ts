import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal, untracked } from '@angular/core';
import { Api, ApiError } from '../../core/api';
import { Feed } from '../../core/feed';
import { now } from '../../core/format';
import { StatusNews, TelemetryPoint } from '../../core/models';
import { Chart } from '../../ui/chart';
import { columns, Live } from '../../ui/chart-data';
import { Loading, Problem } from '../../ui/notice';
import { field } from './telemetry-fields';

const POINTS = 240;
const LIVE = 720; // values kept beside the history, which has them too by the next time it is read
const AGAIN = 300_000; // ms between two readings of the history

/** The course of one telemetry field of a device, going on live. */
@Component({
  selector: 'otad-device-chart',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Chart, Loading, Problem],
  template: `@if (error(); as problem) {
      <h3>{{ field().label }}</h3>
      <otad-problem [error]="problem" (retry)="read()" />
    } @else if (points()) {
      <otad-chart
        [label]="field().label"
        [unit]="field().unit"
        [format]="field().format"
        [bounds]="field().bounds"
        [steps]="field().steps"
        [data]="data()"
        [from]="span().from"
        [to]="span().to"
        together="device"
      />
    } @else {
      <h3>{{ field().label }}</h3>
      <otad-loading />
    }`,
  styles: `
    :host {
      display: block;
      min-height: 186px;
      min-width: 0;
    }
  `,
})
export class DeviceChart {
  private readonly api = inject(Api);
  readonly device = input.required<number>();
  readonly name = input.required<string>();
  /** How far back, in seconds. */
  readonly back = input.required<number>();

  protected readonly field = computed(() => field(this.name()));
  protected readonly points = signal<TelemetryPoint[] | null>(null);
  protected readonly error = signal<ApiError | null>(null);
  private readonly live = signal<Live[]>([]);
  private turn = 0;
  private readAt = 0;

  protected readonly span = computed(() => {
    const to = Math.max(now() / 1000, this.live().at(-1)?.[0] ?? 0);
    return { from: to - this.back(), to };
  });
  protected readonly data = computed(() => columns(this.points() ?? [], this.live(), this.span().from));

  constructor() {
    effect(() => {
      this.device();
      this.name();
      this.back();
      untracked(() => {
        this.points.set(null);
        this.live.set([]);
        this.read();
      });
    });
    effect(() => {
      if (now() - this.readAt > AGAIN && untracked(this.points)) untracked(() => this.read());
    });
    inject(Feed).watch(
      () => [`device:${this.device()}`],
      ({ event, at, data }) => {
        const value = event === 'status' ? (data as StatusNews).telemetry[this.name()] : null;
        if (typeof value !== 'number') return;
        const time = Date.parse((data as StatusNews).last_seen ?? at) / 1000;
        this.live.update((live) => [...live.slice(1 - LIVE), [time, value]]);
      },
      () => this.read(),
    );
  }

  protected async read(): Promise<void> {
    const turn = ++this.turn;
    this.readAt = Date.now();
    const to = new Date(this.readAt);
    const from = new Date(this.readAt - this.back() * 1000);
    try {
      const { points } = await this.api.get<{ points: TelemetryPoint[] }>(`/devices/${this.device()}/telemetry`, {
        name: this.name(),
        from: from.toISOString(),
        to: to.toISOString(),
        points: POINTS,
      });
      if (turn !== this.turn) return;
      this.points.set(points);
      this.error.set(null);
    } catch (error) {
      // One that is there stays: the next reading may go better.
      if (turn === this.turn && !this.points()) this.error.set(ApiError.of(error));
    }
  }
}
