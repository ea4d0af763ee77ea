import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { RouterLink } from '@angular/router';
import { Api, ApiError } from '../../core/api';
import { bytes } from '../../core/format';
import { Update } from '../../core/models';
import { Session } from '../../core/session';
import { Empty, Loading, Problem } from '../../ui/notice';
import { Time } from '../../ui/time';
import { DeviceState } from './device-state';

/** Which image the device shall install: those for its chip, newest first. Answers with the update. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Empty, FormsModule, Loading, MatButtonModule, MatDialogModule, Problem, RouterLink, Time],
  templateUrl: './update-dialog.html',
  styles: `
    .choices {
      display: grid;
      border: 1px solid var(--line);
      border-radius: 8px;
      overflow: hidden;
    }
    label {
      display: grid;
      grid-template-columns: 20px minmax(0, 1fr) auto;
      gap: 2px 10px;
      padding: 10px 14px;
      color: var(--text);
      cursor: pointer;
    }
    label + label {
      border-top: 1px solid var(--line);
    }
    label:hover {
      background: var(--panel-2);
    }
    label:has(:checked) {
      background: var(--accent-soft);
    }
    input {
      width: 18px;
      height: 18px;
      margin: 1px 0 0;
      accent-color: var(--accent);
    }
    small {
      grid-column: 2 / -1;
      font-size: 13px;
      overflow-wrap: anywhere;
    }
    .tag {
      margin-left: 6px;
    }
  `,
})
export class UpdateDialog {
  private readonly api = inject(Api);
  protected readonly ref = inject<MatDialogRef<UpdateDialog, Update>>(MatDialogRef);
  protected readonly state = inject(DeviceState);
  protected readonly session = inject(Session);
  protected readonly bytes = bytes;
  protected readonly chosen = signal<number | null>(null);
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly image = computed(() => this.state.images()?.find(({ id }) => id === this.chosen()) ?? null);

  constructor() {
    this.state.readImages(); // one may have been uploaded since
  }

  protected choose(id: number): void {
    this.chosen.set(id);
    this.error.set(null);
  }

  protected async submit(): Promise<void> {
    this.busy.set(true);
    this.error.set(null);
    try {
      const answer = await this.api.post<{ update: Update }>(`${this.state.path}/update`, {
        firmware_id: this.chosen(),
      });
      this.ref.close(answer.update);
    } catch (error) {
      this.error.set(this.inWords(ApiError.of(error)));
    } finally {
      this.busy.set(false);
    }
  }

  /** The server's words name the field; a person chose an image. */
  private inWords(error: ApiError): ApiError {
    const image = this.image();
    if (!image || !error.errors.length) return error;
    const words = error.errors.map(({ message }) => `${image.project} ${image.version} ${message}`).join('; ');
    return new ApiError(error.status, `The device cannot have this update: ${words}.`);
  }
}
