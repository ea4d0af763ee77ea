import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  ElementRef,
  inject,
  input,
  signal,
} from '@angular/core';
import { count } from '../core/format';
import { Simulation } from '../core/models';
import { countTicks, cutOf, moment, pointsOf, timeTicks } from './outcome';

const HEIGHT = 230;
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 12, 26, 26];
const SERIES = ['offered', 'succeeded', 'failed'] as const;

/** Offered, succeeded and failed over virtual time. The same numbers stand in the tables beside it. */
@Component({
  selector: 'otad-course',
  changeDetection: ChangeDetectionStrategy.OnPush,
  templateUrl: './course.html',
  styleUrl: './course.scss',
})
export class Course {
  readonly simulation = input.required<Simulation>();
  private readonly width = signal(480);
  protected readonly series = SERIES;
  protected readonly words = { offered: 'Offered', succeeded: 'Succeeded', failed: 'Failed' };

  constructor() {
    const element = inject<ElementRef<HTMLElement>>(ElementRef).nativeElement;
    const observer = new ResizeObserver(([entry]) => this.width.set(Math.max(260, entry.contentRect.width)));
    observer.observe(element);
    inject(DestroyRef).onDestroy(() => observer.disconnect());
  }

  protected readonly chart = computed(() => {
    const simulation = this.simulation();
    const width = this.width();
    const points = pointsOf(simulation);
    const end = Math.max(1, points.at(-1)?.at ?? 1);
    const cut = cutOf(points);
    const [inner, bottom] = [width - LEFT - RIGHT, HEIGHT - BOTTOM];
    const before = cut === null ? inner : inner * 0.82; // what the time up to the cut has of the width
    const x = (at: number) =>
      LEFT +
      (cut === null || at <= cut
        ? (at / (cut ?? end)) * before
        : before + ((at - cut) / (end - cut)) * (inner - before));
    const top = Math.max(1, simulation.targeted, ...points.map(({ offered }) => offered));
    const y = (n: number) => bottom - (n / top) * (bottom - TOP);
    const path = (of: (typeof SERIES)[number], from: number, to: number) =>
      points
        .filter(({ at }) => at >= from && at <= to)
        .map((point, i) => `${i ? 'L' : 'M'}${x(point.at).toFixed(1)} ${y(point[of]).toFixed(1)}`)
        .join('');
    const ticks = timeTicks(cut ?? end, Math.max(2, Math.floor(before / 76)));
    return {
      width,
      height: HEIGHT,
      left: LEFT,
      right: width - RIGHT,
      top: TOP,
      bottom,
      counts: countTicks(top).map((n) => ({ y: y(n), text: count(n) })),
      times: [
        ...ticks.map((at) => ({ x: x(at), text: at ? moment(at) : '0', anchor: at ? 'middle' : 'start' })),
        ...(cut === null ? [] : [{ x: width - RIGHT, text: moment(end), anchor: 'end' }]),
      ].filter(({ x: at }, i) => cut === null || i === ticks.length || at < LEFT + before - 6),
      stages: simulation.stages.flatMap(({ name, entered_s, until_s }, i) => {
        if (entered_s === null) return [];
        const from = x(Math.min(entered_s, end));
        const room = x(Math.min(until_s ?? end, end)) - from;
        return { from, room, even: i % 2 === 0, name: room > name.length * 7 + 8 ? name : '' };
      }),
      cut: cut === null ? null : x(cut) + (inner - before) / 2,
      lines: SERIES.map((of) => ({
        of,
        solid: path(of, 0, cut ?? end),
        dashed: cut === null ? '' : path(of, cut, end),
      })),
    };
  });
}
