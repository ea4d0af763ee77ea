import { ChangeDetectionStrategy, Component, input } from '@angular/core';

/** One path of @mdi/js. Decoration: what it means stands beside it in words. */
@Component({
  selector: 'otad-icon',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<svg viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path [attr.d]="path()" /></svg>`,
  styles: `
    :host {
      display: inline-flex;
      flex: none;
      width: 1.3em;
      height: 1.3em;
      vertical-align: -0.28em;
    }
    svg {
      width: 100%;
      height: 100%;
      fill: currentColor;
    }
  `,
})
export class Icon {
  readonly path = input.required<string>();
}
