import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { RouterLink } from '@angular/router';
import { failuresOf } from '../../core/counts';
import { count, percent } from '../../core/format';
import { RolloutCounts } from '../../core/models';

const SAMPLES = 20; // below which the server's own rule does not judge a stage that is not done

/** The share of failures and what it surely is at least and at most (Wilson, 95 %), against what the policy bears. */
@Component({
  selector: 'otad-failure-rate',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [RouterLink],
  template: `@if (failures(); as found) {
      <p>
        <strong class="big number">{{ percent(found.rate) }}</strong>
        {{ number(found.failed) }} of {{ number(found.of) }} that took it
      </p>
      <div class="scale" aria-hidden="true">
        <i class="range" [style.left.%]="at(found.low)" [style.width.%]="at(found.high) - at(found.low)"></i>
        <i class="rate" [style.left.%]="at(found.rate)"></i>
        @if (limit(); as most) {
          <i class="limit" [style.left.%]="at(most)"></i>
        }
      </div>
      <div class="ends muted number" aria-hidden="true">
        <span>0 %</span><span>{{ percent(end()) }}</span>
      </div>
      <p class="muted">
        With 95 % certainty between {{ percent(found.low) }} and {{ percent(found.high) }} of all devices.
      </p>
    } @else {
      <p class="muted">No device has taken it yet.</p>
    }
    <p class="rule">
      @if (limit(); as most) {
        The rollout pauses once this is above {{ percent(most) }} with 95 % certainty. That is judged from
        {{ samples }} devices on, or at the end of a stage.
      } @else {
        <a [routerLink]="['/policies', policy()]">{{ policy() }}</a> judges it by a rule of its own.
      }
      After somebody resumes it, only what ends from then on counts.
    </p>`,
  styles: `
    :host {
      display: grid;
      gap: 10px;
    }
    .big {
      margin-right: 6px;
      font-size: 26px;
      font-weight: 640;
      letter-spacing: -0.01em;
    }
    .scale {
      position: relative;
      height: 12px;
      border-radius: 6px;
      background: var(--quiet-soft);
    }
    .scale i {
      position: absolute;
    }
    .range {
      top: 0;
      bottom: 0;
      min-width: 2px;
      border-radius: 6px;
      background: color-mix(in srgb, var(--bad) 35%, transparent);
    }
    .rate {
      top: -2px;
      bottom: -2px;
      width: 4px;
      margin-left: -2px;
      border-radius: 2px;
      background: var(--bad);
    }
    .limit {
      top: -5px;
      bottom: -5px;
      border-left: 2px dashed var(--text);
    }
    .ends {
      display: flex;
      justify-content: space-between;
      margin-top: -6px;
      font-size: 12px;
    }
    .rule a {
      text-decoration: underline;
    }
    .rule {
      font-size: 13px;
    }
  `,
})
export class FailureRate {
  readonly counts = input.required<RolloutCounts>();
  readonly policy = input.required<string>();
  /** The share above which it pauses; null: the policy has a rule of its own. */
  readonly limit = input.required<number | null>();

  protected readonly samples = SAMPLES;
  protected readonly number = count;
  protected readonly percent = percent;
  protected readonly failures = computed(() => failuresOf(this.counts()));
  /** Where the scale ends. */
  protected readonly end = computed(() => {
    const most = Math.max((this.failures()?.high ?? 0) * 1.1, (this.limit() ?? 0) * 2, 0.05);
    return [0.05, 0.1, 0.2, 0.5].find((end) => most <= end) ?? 1;
  });

  protected at(share: number): number {
    return Math.min(100, (share / this.end()) * 100);
  }
}
