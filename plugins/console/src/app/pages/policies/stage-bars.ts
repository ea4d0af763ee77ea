import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { percent } from '../../core/format';
import { Stage } from '../../core/models';

/** The shares of a policy's stages as small bars, and in words. */
@Component({
  selector: 'otad-stages',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<span class="bars" aria-hidden="true">
      @for (height of heights(); track $index) {
        <i [style.height.%]="height"></i>
      }
    </span>
    <span>{{ words() }}</span>`,
  styles: `
    :host {
      display: inline-flex;
      align-items: end;
      gap: 10px;
      font-size: 13px;
      color: var(--muted);
    }
    .bars {
      display: inline-flex;
      align-items: end;
      gap: 2px;
      flex: none;
      height: 22px;
      border-bottom: 1px solid var(--line-strong);
    }
    i {
      width: 7px;
      border-radius: 2px 2px 0 0;
      background: var(--accent);
    }
  `,
})
export class StageBars {
  readonly stages = input.required<Stage[]>();
  // By the root of the share: 1 % beside 100 % is to be seen.
  protected readonly heights = computed(() => this.stages().map(({ share }) => Math.max(10, Math.sqrt(share) * 100)));
  protected readonly words = computed(() => {
    const shares = this.stages().map(({ share }) => percent(share).replace(' ', '\u00a0'));
    if (shares.length <= 1) return 'All at once';
    if (shares.length <= 6) return shares.join(' → ');
    return `${shares.length} stages: ${shares[0]}, ${shares[1]} … ${shares.at(-1)}`;
  });
}
