import { ChangeDetectionStrategy, Component, inject, resource, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { Api } from '../../core/api';
import { Broker, Credentials, Device } from '../../core/models';
import { Session } from '../../core/session';
import { CredentialsView } from '../add-device/credentials';

/** New credentials of a device that is registered: shown once, so it closes by its button only. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [CredentialsView, MatButtonModule, MatDialogModule],
  template: `<h2 mat-dialog-title>New credentials of {{ data.device.device_code }}</h2>
    <mat-dialog-content>
      <otad-credentials
        [credentials]="data.credentials"
        [device]="data.device"
        [mqtt]="broker.value() ?? null"
        (kept)="kept.set(true)"
      />
    </mat-dialog-content>
    <mat-dialog-actions align="end">
      <button [matButton]="kept() ? 'filled' : 'text'" type="button" (click)="ref.close()">
        {{ kept() ? 'Done' : 'Close without the password' }}
      </button>
    </mat-dialog-actions>`,
})
export class CredentialsDialog {
  private readonly api = inject(Api);
  private readonly session = inject(Session);
  protected readonly ref = inject(MatDialogRef<CredentialsDialog>);
  protected readonly data = inject<{ device: Device; credentials: Credentials }>(MAT_DIALOG_DATA);
  protected readonly kept = signal(false);
  /** Where the broker is: operators are told; who registered the device has it already. */
  protected readonly broker = resource({
    loader: async (): Promise<Broker | null> => {
      if (!this.session.operator()) return null;
      return this.api.get<{ addresses: { mqtt: Broker } }>('/admin/settings').then(
        ({ addresses }) => addresses.mqtt,
        () => null,
      );
    },
  });
}
