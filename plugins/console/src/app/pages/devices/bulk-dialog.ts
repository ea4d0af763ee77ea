import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatSelectModule } from '@angular/material/select';
import { Api } from '../../core/api';
import { counted } from '../../core/format';
import { Firmware, Page, Tags } from '../../core/models';
import { Loading, Problem } from '../../ui/notice';

export type BulkWish = { set: Tags; remove: string[] } | { firmware_id: number };

/** Asks what tags to set and take away, or which firmware to bring. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    FormsModule,
    Loading,
    MatButtonModule,
    MatDialogModule,
    MatFormFieldModule,
    MatInputModule,
    MatSelectModule,
    Problem,
  ],
  template: `<h2 mat-dialog-title>
      {{ data.action === 'tag' ? 'Change tags of' : 'Update' }} {{ counted(data.count, 'device') }}
    </h2>
    <form (ngSubmit)="wish() && ref.close(wish()!)">
      <mat-dialog-content class="stack">
        @if (data.action === 'tag') {
          <mat-form-field>
            <mat-label>Set</mat-label>
            <input
              matInput
              name="set"
              placeholder="site:hall-2, ring:1"
              [ngModel]="set()"
              (ngModelChange)="set.set($event)"
            />
            <mat-hint>name:value, several with commas between</mat-hint>
          </mat-form-field>
          <mat-form-field>
            <mat-label>Take away</mat-label>
            <input
              matInput
              name="remove"
              placeholder="ring"
              [ngModel]="remove()"
              (ngModelChange)="remove.set($event)"
            />
            <mat-hint>names</mat-hint>
          </mat-form-field>
        } @else if (images.hasValue()) {
          <p>
            All at once, without stages or a policy. Devices of another chip, and those with an update under way, are
            left out and counted. For many devices a rollout is safer.
          </p>
          <mat-form-field>
            <mat-label>Firmware</mat-label>
            <mat-select required name="firmware" [ngModel]="firmware()" (ngModelChange)="firmware.set($event)">
              @for (image of images.value()!.items; track image.id) {
                <mat-option [value]="image.id">{{ image.project }} {{ image.version }} ({{ image.chip }})</mat-option>
              }
            </mat-select>
          </mat-form-field>
        } @else if (images.error()) {
          <otad-problem [error]="images.error()" (retry)="images.reload()" />
        } @else {
          <otad-loading [lines]="2" />
        }
      </mat-dialog-content>
      <mat-dialog-actions align="end">
        <button matButton type="button" mat-dialog-close>Cancel</button>
        <button matButton="filled" type="submit" [disabled]="!wish()">
          {{ data.action === 'tag' ? 'Change tags' : 'Update' }}
        </button>
      </mat-dialog-actions>
    </form>`,
})
export class BulkDialog {
  protected readonly ref = inject<MatDialogRef<BulkDialog, BulkWish>>(MatDialogRef);
  protected readonly data = inject<{ action: 'tag' | 'update'; count: number }>(MAT_DIALOG_DATA);
  protected readonly counted = counted;
  protected readonly images = inject(Api).resource<Page<Firmware>>(() =>
    this.data.action === 'update' ? '/firmware/list?limit=200' : undefined,
  );
  protected readonly set = signal('');
  protected readonly remove = signal('');
  protected readonly firmware = signal<number | null>(null);

  protected readonly wish = computed<BulkWish | null>(() => {
    if (this.data.action === 'update') {
      const id = this.firmware();
      return id === null ? null : { firmware_id: id };
    }
    const parts = (text: string) =>
      text
        .split(',')
        .map((part) => part.trim())
        .filter(Boolean);
    const pairs = parts(this.set()).map((part) => /^([^:]+):(.*)$/.exec(part));
    const remove = parts(this.remove());
    if (pairs.includes(null) || pairs.length + remove.length === 0) return null;
    return { set: Object.fromEntries(pairs.map((pair) => [pair![1].trim(), pair![2].trim()])), remove };
  });
}
