import { ChangeDetectionStrategy, Component, computed, input, resource } from '@angular/core';
import { kept } from '../core/kept';

const QUIET = 4; // modules of white around it, as the standard wants

/** A text as QR code; for who cannot see it the text stands elsewhere on the page. */
@Component({
  selector: 'otad-qr',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `@if (code(); as code) {
    <svg [attr.viewBox]="'0 0 ' + code.size + ' ' + code.size" role="img" [attr.aria-label]="label()">
      <rect class="paper" [attr.width]="code.size" [attr.height]="code.size" />
      <path [attr.d]="code.path" />
    </svg>
  }`,
  styles: `
    :host {
      display: block;
      aspect-ratio: 1;
    }
    svg {
      display: block;
      width: 100%;
      border-radius: 8px;
      shape-rendering: crispEdges;
    }
    /* Black on white in the dark, too: many readers want it so. */
    .paper {
      fill: #fff;
    }
    path {
      fill: #000;
    }
  `,
})
export class Qr {
  readonly text = input.required<string>();
  readonly label = input('QR code');
  private readonly library = kept(resource({ loader: () => import('qrcode-generator') }));

  protected readonly code = computed(() => {
    const make = this.library.value()?.default;
    if (!make) return null;
    const qr = make(0, 'M');
    qr.addData(this.text());
    qr.make();
    const n = qr.getModuleCount();
    let path = '';
    for (let y = 0; y < n; y++) {
      for (let x = 0; x < n; x++) if (qr.isDark(y, x)) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
    }
    return { path, size: n + 2 * QUIET };
  });
}
