import {
  afterNextRender,
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  input,
  signal,
  untracked,
  viewChild,
  ViewEncapsulation,
} from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import type uPlot from 'uplot';
import { zone } from '../core/format';
import { theme } from '../core/theme';
import { Columns, extent, nearest, readable } from './chart-data';

const HEIGHT = 150;
const EDGE = 24; // px: half of a date, which may stand at the end of the axis

/**
 * A value over time: a line of averages in a band from lowest to highest. What the pointer is at stands above it in words;
 * the same values are there as a table. uPlot is loaded when the first chart is shown.
 */
@Component({
  selector: 'otad-chart',
  changeDetection: ChangeDetectionStrategy.OnPush,
  encapsulation: ViewEncapsulation.None, // uPlot makes elements of its own
  imports: [MatButtonModule],
  templateUrl: './chart.html',
  styleUrls: ['../../../node_modules/uplot/dist/uPlot.min.css', './chart.scss'],
  host: { class: 'otad-chart' },
})
export class Chart {
  readonly label = input.required<string>();
  readonly unit = input('');
  readonly data = input.required<Columns>();
  /** Seconds. */
  readonly from = input.required<number>();
  readonly to = input.required<number>();
  /** Bounds of the axis where they are known, as of percentages. */
  readonly bounds = input<[number, number] | null>(null);
  /** How far apart its marks may be, ascending; or round decimals. */
  readonly steps = input<number[]>();
  readonly format = input<(value: number) => string>(String);
  /** Charts with the same word share the pointer. */
  readonly together = input<string>();

  protected readonly table = signal(false);
  protected readonly zone = zone();
  protected readonly time = (at: number) => TIME.format(at);
  private readonly pointer = signal<number | null>(null); // seconds
  private readonly plot = viewChild.required<ElementRef<HTMLElement>>('plot');
  private readonly ink = viewChild.required<ElementRef<HTMLElement>>('ink');
  private chart: uPlot | null = null;

  protected readonly extent = computed(() => extent(this.data()));
  protected readonly said = computed(() => {
    const pointer = this.pointer();
    const i = pointer === null ? -1 : nearest(this.data(), pointer);
    if (i < 0) return null;
    const [at, max, min, avg] = this.data();
    return { at: this.time(at[i] * 1000), avg: avg[i]!, min: min[i]!, max: max[i]! };
  });
  protected readonly summary = computed(() => {
    const all = this.extent();
    const value = (n: number) => this.value(n);
    return all
      ? `${this.label()}: now ${value(all.latest)}, lowest ${value(all.lowest)}, highest ${value(all.highest)}`
      : `${this.label()}: no values`;
  });
  /** Newest first. */
  protected readonly rows = computed(() => {
    const [at, max, min, avg] = this.data();
    return at
      .map((time, i) => ({ time: time * 1000, min: min[i], avg: avg[i], max: max[i] }))
      .filter(({ avg }) => avg !== null)
      .reverse();
  });

  constructor() {
    let gone = false;
    const destroy = inject(DestroyRef);
    destroy.onDestroy(() => {
      gone = true;
      this.chart?.destroy();
    });
    afterNextRender(async () => {
      const { default: UPlot } = await import('uplot');
      if (gone) return;
      const plot = this.plot().nativeElement;
      this.chart = new UPlot(this.options(UPlot, plot.clientWidth), untracked(this.data), plot);
      const sizes = new ResizeObserver(() => this.chart?.setSize({ width: plot.clientWidth, height: HEIGHT }));
      sizes.observe(plot);
      const scheme = matchMedia('(prefers-color-scheme: dark)');
      const redraw = () => this.chart?.redraw();
      scheme.addEventListener('change', redraw);
      destroy.onDestroy(() => {
        sizes.disconnect();
        scheme.removeEventListener('change', redraw);
      });
    });
    effect(() => {
      this.from();
      this.to();
      const data = this.data();
      untracked(() => this.chart?.setData(data));
    });
    effect(() => {
      theme();
      setTimeout(() => this.chart?.redraw()); // once the new colours are in force
    });
  }

  protected value(n: number): string {
    const unit = this.unit();
    return this.format()(n) + (unit && ` ${unit}`);
  }

  private options(UPlot: typeof uPlot, width: number): uPlot.Options {
    // Canvases take no CSS variables: an element that nobody sees has the colours.
    const colour = (name: 'color' | 'backgroundColor' | 'borderTopColor' | 'outlineColor') => () =>
      getComputedStyle(this.ink().nativeElement)[name];
    const quiet = { stroke: colour('outlineColor'), font: '11px "Inter Variable", system-ui, sans-serif', gap: 4 };
    const grid = { stroke: colour('borderTopColor'), width: 1 };
    const edge = { stroke: 'transparent', width: 0, points: { show: false } };
    const together = this.together();
    const steps = this.steps();
    return {
      width,
      height: HEIGHT,
      padding: [8, EDGE, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false, setScale: false },
        points: { size: 7 },
        sync: together ? { key: together } : undefined,
      },
      hooks: {
        setCursor: [
          (plot) => this.pointer.set((plot.cursor.left ?? -1) < 0 ? null : plot.posToVal(plot.cursor.left!, 'x')),
        ],
      },
      scales: {
        x: { time: true, range: () => [this.from(), this.to()] },
        y: {
          range: (_, min, max) => {
            const bounds = this.bounds();
            if (bounds) return bounds;
            if (min === null || max === null) return [0, 1];
            const room = (max - min) * 0.1 || Math.abs(max) * 0.05 || 1;
            return UPlot.rangeNum(min - room, max + room, { min: { pad: 0 }, max: { pad: 0 } });
          },
        },
      },
      axes: [
        { ...quiet, grid: { show: false }, ticks: { ...grid, size: 4 }, size: 26, space: 70, values: clock },
        {
          ...quiet,
          grid,
          ticks: { show: false },
          size: 56,
          space: 34,
          incrs: steps && ((_, __, min, max) => readable(steps, this.format(), min, max)),
          values: (_, splits) => splits.map((n) => this.format()(n)),
        },
      ],
      series: [
        {},
        { ...edge },
        { ...edge },
        { stroke: colour('color'), width: 1.6, points: { show: this.lone, size: 5 }, spanGaps: false },
      ],
      bands: [{ series: [1, 2], fill: colour('backgroundColor') }],
    };
  }

  /** What is few, or fills a hundredth of the width, makes no line that is seen: it is shown as points. */
  private readonly lone = (): boolean => {
    const [at] = this.data();
    return at.length < 3 || at[at.length - 1] - at[0] < (this.to() - this.from()) / 100;
  };
}

const TIME = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});
const HOURS = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hour12: false });
const DAYS = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });

/** Times at the axis, as everywhere on the page; days where they begin. */
function clock(_: uPlot, splits: number[]): string[] {
  return splits.map((seconds) => {
    const time = new Date(seconds * 1000);
    return (time.getHours() === 0 && time.getMinutes() === 0 ? DAYS : HOURS).format(time);
  });
}
