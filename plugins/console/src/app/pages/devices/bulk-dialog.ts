import { ChangeDetectionStrategy, Component, computed, inject, resource, signal, viewChild } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatSelectModule } from '@angular/material/select';
import { Api } from '../../core/api';
import { counted } from '../../core/format';
import { readImages } from '../../core/images';
import { kept } from '../../core/kept';
import { Facet, Facets, Tags } from '../../core/models';
import { Loading, Problem } from '../../ui/notice';
import { TagsField } from '../../ui/tags-field';
import { TokenField } from '../../ui/token-field';

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
    MatSelectModule,
    Problem,
    TagsField,
    TokenField,
  ],
  template: `<h2 mat-dialog-title>{{ title }}</h2>
    <form (ngSubmit)="go()">
      <mat-dialog-content class="stack">
        @if (data.action === 'tag') {
          <otad-tags-field label="Set" [(tags)]="set" />
          <otad-token-field
            label="Take away"
            hint="Names of tags, such as ring, each followed by Enter"
            [(values)]="remove"
            [suggestions]="names()"
            [check]="nameProblem"
          />
        } @else if (images.value(); as list) {
          <p>
            All at once, without stages or a policy. Devices of another chip, and those with an update under way, are
            left out and counted. For many devices a rollout is safer.
          </p>
          <mat-form-field>
            <mat-label>Firmware</mat-label>
            <mat-select required name="firmware" [ngModel]="firmware()" (ngModelChange)="firmware.set($event)">
              @for (image of list; track image.id) {
                <mat-option [value]="image.id" [disabled]="!image.release_key"
                  >{{ image.project }} {{ image.version }} for {{ image.chip
                  }}{{ image.release_key ? '' : ' (not signed)' }}</mat-option
                >
              }
            </mat-select>
          </mat-form-field>
        } @else if (images.error(); as error) {
          <otad-problem [error]="error" (retry)="images.reload()" />
        } @else {
          <otad-loading [lines]="2" />
        }
      </mat-dialog-content>
      <mat-dialog-actions align="end">
        <button matButton type="button" mat-dialog-close>Cancel</button>
        <button matButton="filled" type="submit" [disabled]="data.action === 'update' && !wish()">
          {{ data.action === 'tag' ? 'Change tags' : 'Update' }}
        </button>
      </mat-dialog-actions>
    </form>`,
})
export class BulkDialog {
  protected readonly ref = inject<MatDialogRef<BulkDialog, BulkWish>>(MatDialogRef);
  protected readonly data = inject<{ action: 'tag' | 'update'; count: number }>(MAT_DIALOG_DATA);
  protected readonly title =
    (this.data.action === 'tag' ? 'Change tags of ' : 'Update ') + counted(this.data.count, 'device');
  private readonly api = inject(Api);
  protected readonly images = kept(
    resource({
      params: () => this.data.action === 'update' || undefined,
      loader: () => readImages(this.api),
    }),
  );
  protected readonly set = signal<Tags>({});
  protected readonly remove = signal<string[]>([]);
  private readonly facets = this.api.resource<Facets>(() =>
    this.data.action === 'tag' ? '/devices/facets' : undefined,
  );
  protected readonly names = computed<Facet[]>(() => {
    const counts = new Map<string, number>();
    for (const { value, count } of this.facets.value()?.tags ?? []) {
      const name = value.slice(0, value.indexOf(':'));
      counts.set(name, (counts.get(name) ?? 0) + count);
    }
    return [...counts].map(([value, count]) => ({ value, count }));
  });
  protected readonly nameProblem = (text: string) => (text.includes(':') ? 'Only the name: without a value' : null);
  protected readonly firmware = signal<number | null>(null);

  private readonly setField = viewChild(TagsField);
  private readonly removeField = viewChild(TokenField);

  protected readonly wish = computed<BulkWish | null>(() => {
    if (this.data.action === 'update') {
      const id = this.firmware();
      return id === null ? null : { firmware_id: id };
    }
    const [set, remove] = [this.set(), this.remove()];
    return Object.keys(set).length + remove.length ? { set, remove } : null;
  });

  protected go(): void {
    const read = [this.setField()?.take(), this.removeField()?.take()];
    const wish = this.wish();
    if (!read.includes(false) && wish) this.ref.close(wish);
  }
}
