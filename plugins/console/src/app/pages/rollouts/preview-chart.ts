import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { count, duration, percent } from '../../core/format';
import { curvesOf, outcomeWords, Preview } from './preview-words';

const APART = 0.14; // of the width, at least, between the names of stages

/** How a simulated rollout goes: offered, succeeded and failed over time, where stages begin; and the same as a table. */
@Component({
  selector: 'otad-preview-chart',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<figure>
      <div class="names" aria-hidden="true">
        @for (mark of named(); track mark.x) {
          <span [style.left.%]="mark.x * 100">{{ mark.name }}</span>
        }
      </div>
      <div class="plot">
        <svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" [attr.aria-label]="words()">
          @for (mark of marks(); track $index) {
            <line class="mark" [attr.x1]="mark.x * 100" [attr.x2]="mark.x * 100" y1="0" y2="100" />
          }
          <path class="area" [attr.d]="paths().area" />
          <path class="offered" [attr.d]="paths().offered" />
          <path class="succeeded" [attr.d]="paths().succeeded" />
          <path class="failed" [attr.d]="paths().failed" />
        </svg>
        <span class="top muted number" aria-hidden="true">{{ number(preview().targeted) }}</span>
      </div>
      <div class="axis muted number" aria-hidden="true">
        <span>0</span><span>{{ duration(preview().at_s / 2) }}</span
        ><span>{{ duration(preview().at_s) }}</span>
      </div>
      <figcaption>
        <span class="key"><i class="offered"></i>Offered</span>
        <span class="key"><i class="succeeded"></i>Succeeded</span>
        <span class="key"><i class="failed"></i>Failed</span>
        <span class="muted">straight between the policy's decisions</span>
      </figcaption>
    </figure>
    <details>
      <summary>Stage by stage</summary>
      <div class="table-frame">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Stage</th>
              <th scope="col" class="end">Begins</th>
              <th scope="col" class="end">Offered</th>
              <th scope="col" class="end">Succeeded</th>
              <th scope="col" class="end">Failed</th>
            </tr>
          </thead>
          <tbody>
            @for (stage of preview().stages; track $index) {
              <tr>
                <th scope="row">
                  {{ stage.name }}
                  @if (stage.name !== percent(stage.share)) {
                    <span class="muted">{{ percent(stage.share) }}</span>
                  }
                </th>
                @if (stage.entered_s !== null) {
                  <td class="end">{{ stage.entered_s ? 'after ' + duration(stage.entered_s) : 'at once' }}</td>
                  <td class="end">{{ number(stage.offered) }}</td>
                  <td class="end">{{ number(stage.succeeded) }}</td>
                  <td class="end">{{ number(stage.failed) }}</td>
                } @else {
                  <td class="end muted" colspan="4">not reached</td>
                }
              </tr>
            }
          </tbody>
        </table>
      </div>
    </details>`,
  styleUrl: './preview-chart.scss',
})
export class PreviewChart {
  readonly preview = input.required<Preview>();

  protected readonly number = count;
  protected readonly percent = percent;
  protected readonly duration = duration;
  protected readonly words = computed(() => outcomeWords(this.preview()));
  protected readonly marks = computed(() => {
    const end = Math.max(this.preview().at_s, 1);
    return this.preview()
      .stages.filter(({ entered_s }) => entered_s !== null)
      .map(({ name, entered_s }) => ({ name, x: entered_s! / end }));
  });
  /** The stages whose names have room. */
  protected readonly named = computed(() => {
    let before = -1;
    return this.marks().filter(({ x }) => {
      if (x - before < APART || x > 1 - APART) return false;
      before = x;
      return true;
    });
  });
  protected readonly paths = computed(() => {
    const line = (points: [number, number][]) =>
      points.map(([x, y], i) => `${i ? 'L' : 'M'}${(x * 100).toFixed(2)} ${(100 - y * 100).toFixed(2)}`).join('');
    const [offered, succeeded, failed] = curvesOf(this.preview()).map(({ points }) => line(points));
    return { offered, succeeded, failed, area: succeeded && `${succeeded}L100 100L0 100Z` };
  });
}
