import { ChangeDetectionStrategy, Component, effect, inject, viewChild } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { Flash } from '../add-device/flash';

@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Flash, MatButtonModule, MatDialogModule],
  template: `<h2 mat-dialog-title>Flash over USB</h2>
    <mat-dialog-content><otad-flash [chip]="data.chip" /></mat-dialog-content>
    <mat-dialog-actions align="end">
      <button matButton type="button" mat-dialog-close [disabled]="flash()?.busy()">Close</button>
    </mat-dialog-actions>`,
})
export class FlashDialog {
  private readonly ref = inject(MatDialogRef<FlashDialog>);
  protected readonly data = inject<{ chip: string | null }>(MAT_DIALOG_DATA);
  protected readonly flash = viewChild(Flash);

  constructor() {
    // Writing goes on behind a dialog that was closed by a stray key.
    effect(() => (this.ref.disableClose = this.flash()?.busy() ?? false));
  }
}
