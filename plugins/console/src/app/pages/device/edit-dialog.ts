import { ChangeDetectionStrategy, Component, inject, signal, viewChild } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatSelectModule } from '@angular/material/select';
import { Api, ApiError } from '../../core/api';
import { CHIP_NAMES } from '../../core/chips';
import { Device } from '../../core/models';
import { Problem } from '../../ui/notice';
import { TagsField } from '../../ui/tags-field';

/** Chip and tags of a device. Answers with the device as it is then. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, MatButtonModule, MatDialogModule, MatFormFieldModule, MatSelectModule, Problem, TagsField],
  template: `<h2 mat-dialog-title>Chip and tags</h2>
    <form (ngSubmit)="save()">
      <mat-dialog-content
        ><div class="stack">
          <mat-form-field>
            <mat-label>Chip</mat-label>
            <mat-select name="chip" [ngModel]="chip()" (ngModelChange)="chip.set($event)">
              <mat-option [value]="null">Not known: the device reports it</mat-option>
              @for (name of chips; track name) {
                <mat-option [value]="name">{{ name }}</mat-option>
              }
            </mat-select>
            @if (device.chip_reported; as told) {
              <mat-hint>The device reports {{ told }}</mat-hint>
            }
          </mat-form-field>
          <otad-tags-field [(tags)]="tags" />
          @if (error(); as problem) {
            <otad-problem [error]="problem" [retryable]="false" />
          }</div
      ></mat-dialog-content>
      <mat-dialog-actions align="end">
        <button matButton type="button" mat-dialog-close>Cancel</button>
        <button matButton="filled" type="submit" [disabled]="busy()">Save</button>
      </mat-dialog-actions>
    </form>`,
  styles: `
    form .stack {
      padding-top: 8px;
    }
  `,
})
export class EditDialog {
  private readonly api = inject(Api);
  private readonly ref = inject<MatDialogRef<EditDialog, Device>>(MatDialogRef);
  private readonly field = viewChild.required(TagsField);
  protected readonly device = inject<Device>(MAT_DIALOG_DATA);
  protected readonly chips = CHIP_NAMES;
  protected readonly chip = signal(this.device.chip);
  protected readonly tags = signal(this.device.tags);
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);

  protected async save(): Promise<void> {
    if (!this.field().take()) return;
    this.busy.set(true);
    this.error.set(null);
    try {
      const body = { tags: this.tags(), ...(this.chip() === this.device.chip ? {} : { chip: this.chip() }) };
      this.ref.close(await this.api.patch<Device>(`/devices/${this.device.id}`, body));
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }
}
