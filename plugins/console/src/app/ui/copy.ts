import { ChangeDetectionStrategy, Component, inject, input, output, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { mdiCheck, mdiContentCopy } from '@mdi/js';
import { Icon } from './icon';
import { Toast } from './toast';

/** Copies a text, and says whether it did. Without clipboard (plain HTTP) the text is selected by hand: no button. */
@Component({
  selector: 'otad-copy',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatButtonModule],
  template: `@if (possible) {
    <button matButton type="button" (click)="copy()" [attr.aria-label]="done() ? 'Copied' : 'Copy ' + what()">
      <otad-icon [path]="done() ? icons.mdiCheck : icons.mdiContentCopy" /> {{ done() ? 'Copied' : 'Copy' }}
    </button>
  }`,
})
export class Copy {
  private readonly toast = inject(Toast);
  readonly text = input.required<string | (() => string)>();
  readonly what = input('');
  readonly copied = output();
  protected readonly possible = !!navigator.clipboard;
  protected readonly done = signal(false);
  protected readonly icons = { mdiCheck, mdiContentCopy };

  protected async copy(): Promise<void> {
    const text = this.text();
    try {
      await navigator.clipboard.writeText(typeof text === 'string' ? text : text());
    } catch {
      this.toast.error(new Error('The browser did not let it be copied. Select the text and copy it by hand.'));
      return;
    }
    this.copied.emit();
    this.done.set(true);
    setTimeout(() => this.done.set(false), 2000);
  }
}
