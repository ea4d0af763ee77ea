import { ChangeDetectionStrategy, Component, computed, input, output, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatCheckboxModule } from '@angular/material/checkbox';
import { MatTabsModule } from '@angular/material/tabs';
import { mdiAlertOutline, mdiDownload } from '@mdi/js';
import { Broker, Credentials, Device, Registration } from '../../core/models';
import { save } from '../../core/save';
import { Copy } from '../../ui/copy';
import { Icon } from '../../ui/icon';
import { Qr } from '../../ui/qr';
import { arduinoSketch, espIdfCredentials, espIdfHeader, qrText, registrationFile } from './configs';

/**
 * Credentials of a device, which nobody can see again: as text, as QR code, and, after a registration, as what projects
 * paste. `kept` says that they were copied, downloaded or noted.
 */
@Component({
  selector: 'otad-credentials',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Copy, Icon, MatButtonModule, MatCheckboxModule, MatTabsModule, Qr],
  templateUrl: './credentials.html',
  styleUrl: './credentials.scss',
})
export class CredentialsView {
  readonly credentials = input.required<Credentials>();
  readonly device = input.required<Device>();
  /** Where the broker is, if that is known. */
  readonly mqtt = input.required<Broker | null>();
  /** Of a device that was just registered. */
  readonly registration = input<Registration | null>(null);
  readonly kept = output();

  protected readonly icons = { mdiAlertOutline, mdiDownload };
  protected readonly safe = signal(false);
  protected readonly qr = computed(() => qrText(this.credentials(), this.mqtt()));
  protected readonly text = computed(() => {
    const { username, password, client_id } = this.credentials();
    return `username: ${username}\npassword: ${password}\nclient id: ${client_id}\n`;
  });
  protected readonly espIdf = computed(() => {
    const registration = this.registration();
    return registration ? espIdfHeader(registration) : espIdfCredentials(this.credentials());
  });
  protected readonly arduino = computed(() => {
    const registration = this.registration();
    return registration && arduinoSketch(registration);
  });
  protected readonly file = computed(() => registrationFile(this.device()));

  protected keep(): void {
    if (this.safe()) return;
    this.safe.set(true);
    this.kept.emit();
  }

  protected download(): void {
    const content = this.registration() ?? { device: this.device(), credentials: this.credentials() };
    save(this.file(), JSON.stringify(content, null, 2) + '\n', 'application/json');
    this.keep();
  }
}
