import { ChangeDetectionStrategy, Component, computed, input } from '@angular/core';
import { Icon } from './icon';
import { lookOf } from './states';

/** A state as icon, word and colour: <otad-state state="rolled_back" />. */
@Component({
  selector: 'otad-state',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon],
  template: `<span [class]="look().tone" [class.plain]="plain()"
    ><otad-icon [path]="look().icon" />{{ text() ?? look().text }}</span
  >`,
  styles: `
    :host {
      display: inline-flex;
      vertical-align: middle;
    }
    span {
      display: inline-flex;
      align-items: center;
      gap: 5px;
      padding: 0 8px 0 6px;
      border-radius: 6px;
      font-size: 12.5px;
      font-weight: 560;
      line-height: 22px;
      white-space: nowrap;
      color: var(--quiet);
      background: var(--quiet-soft);
    }
    .good {
      color: var(--good);
      background: var(--good-soft);
    }
    .warn {
      color: var(--warn);
      background: var(--warn-soft);
    }
    .bad {
      color: var(--bad);
      background: var(--bad-soft);
    }
    .info {
      color: var(--accent);
      background: var(--accent-soft);
    }
    .plain {
      padding: 0;
      background: none;
    }
    otad-icon {
      width: 14px;
      height: 14px;
    }
  `,
})
export class StateBadge {
  readonly state = input.required<string>();
  /** Other words than the state's own. */
  readonly text = input<string>();
  /** Without a background: in dense tables. */
  readonly plain = input(false);
  protected readonly look = computed(() => lookOf(this.state()));
}
