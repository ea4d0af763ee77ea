import { ChangeDetectionStrategy, Component, input, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { mdiCheck, mdiContentCopy } from '@mdi/js';
import { Icon } from './icon';

/** Copies a text, and says that it did. Without clipboard (plain HTTP) the text is selected by hand: no button. */
@Component({
  selector: 'otad-copy',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatButtonModule],
  template: `@if (possible) {
    <button matButton type="button" (click)="copy()" [attr.aria-label]="copied() ? 'Copied' : 'Copy ' + what()">
      <otad-icon [path]="copied() ? done : icon" /> {{ copied() ? 'Copied' : 'Copy' }}
    </button>
  }`,
})
export class Copy {
  readonly text = input.required<string>();
  readonly what = input('');
  protected readonly possible = !!navigator.clipboard;
  protected readonly copied = signal(false);
  protected readonly icon = mdiContentCopy;
  protected readonly done = mdiCheck;

  protected async copy(): Promise<void> {
    await navigator.clipboard.writeText(this.text());
    this.copied.set(true);
    setTimeout(() => this.copied.set(false), 2000);
  }
}
