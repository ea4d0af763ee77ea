import { computed, effect, inject, Injectable, signal, ViewContainerRef } from '@angular/core';
import { MatDialog } from '@angular/material/dialog';
import { Router } from '@angular/router';
import { Api } from '../../core/api';
import { Credentials, Device, Firmware, Page, Update } from '../../core/models';
import { Confirm } from '../../ui/confirm';
import { LazyDialog } from '../../ui/lazy-dialog';
import { Toast } from '../../ui/toast';
import { DeviceState } from './device-state';

/** What can be done to the device of the page. Dialogs come when they are first needed. */
@Injectable()
export class DeviceActions {
  private readonly api = inject(Api);
  private readonly state = inject(DeviceState);
  private readonly dialog = inject(MatDialog);
  private readonly lazyDialog = inject(LazyDialog);
  private readonly confirm = inject(Confirm);
  private readonly toast = inject(Toast);
  private readonly router = inject(Router);
  private readonly view = inject(ViewContainerRef);

  /** The update that brought what the device runs; undefined: not looked for yet, 'unread': that failed. */
  private readonly brought = signal<Update | 'unread' | null | undefined>(undefined);

  /** The image it ran before that. */
  readonly before = computed<Firmware | null>(() => {
    const brought = this.brought();
    const version = brought === 'unread' ? null : brought?.from_version;
    const running = this.state.running();
    const images = this.state.images() ?? [];
    return images.find((image) => image.version === version && (!running || image.project === running.project)) ?? null;
  });

  /** Why there is no way back: words, or null. */
  readonly rollBackProblem = computed<string | null>(() => {
    if (this.state.underWay()) return 'Roll back: an update is under way';
    const brought = this.brought();
    if (brought === 'unread' || this.state.imagesError()) return 'Roll back: what it ran before could not be read';
    if (brought === undefined || !this.state.images()) return 'Roll back';
    if (!brought?.from_version) return 'Roll back: no update brought what it runs';
    return this.before() ? null : `Roll back: firmware ${brought.from_version} is not here`;
  });

  constructor() {
    effect(() => {
      this.state.id();
      this.brought.set(undefined);
    });
  }

  /** Looks for the way back: what rollBack() needs to know. */
  async lookBack(): Promise<void> {
    const { id, firmware_version: version } = this.state.device()!;
    if (this.state.imagesError()) this.state.readImages();
    const brought = await this.api.get<Page<Update>>(`${this.state.path}/updates`, { limit: 100 }).then(
      ({ items }) => items.find((update) => update.state === 'succeeded' && update.version === version) ?? null,
      () => 'unread' as const,
    );
    if (id === this.state.id()) this.brought.set(brought);
  }

  async install(): Promise<void> {
    this.state.readImages(); // some may have come since
    const load = () => import('./update-dialog').then((m) => m.UpdateDialog);
    const config = { width: '720px', maxWidth: '96vw', viewContainerRef: this.view };
    this.told(await this.lazyDialog.open<Update>(load, config));
  }

  async rollBack(): Promise<void> {
    const image = this.before()!;
    const device = this.state.device()!;
    const reason = await this.confirm.ask({
      title: `Roll back to ${image.version}?`,
      text: `The device runs ${device.firmware_version}. It installs ${image.project} ${image.version} again, which it ran before.`,
      verb: 'Roll back',
    });
    if (reason === undefined) return;
    await this.toast.around(async () => {
      const { update } = await this.api.post<{ update: Update }>(`${this.state.path}/update`, {
        firmware_id: image.id,
      });
      this.told(update);
    });
  }

  async cancel(update: Update): Promise<void> {
    const reason = await this.confirm.ask({
      title: `Cancel the update to ${update.version}?`,
      text: 'The offer is taken back. A device that has begun to restart into the new image goes on all the same.',
      verb: 'Cancel update',
      no: 'Keep updating',
    });
    if (reason === undefined) return;
    await this.toast.around(async () => {
      const answer = await this.api.post<{ update: Update }>(`${this.state.path}/update/cancel`);
      this.state.takeUpdate(answer.update);
      this.state.readWhy();
    }, 'The update was cancelled.');
  }

  async edit(): Promise<void> {
    const load = () => import('./edit-dialog').then((m) => m.EditDialog);
    const device = await this.lazyDialog.open<Device>(load, { width: '560px', data: this.state.device()! });
    if (!device) return;
    this.state.device.set(device);
    this.state.readWhy();
    this.toast.show('Saved.');
  }

  async rotate(): Promise<void> {
    const device = this.state.device()!;
    const reason = await this.confirm.ask({
      title: 'Make new credentials?',
      text: 'The ones it has end at once, and so does its connection. It comes back once it was given the new ones.',
      verb: 'Make new credentials',
      danger: true,
    });
    if (reason === undefined) return;
    await this.toast.around(async () => {
      // First what shows them: they are told this once, and the old ones have ended.
      const { CredentialsDialog } = await import('./credentials-dialog');
      const { credentials } = await this.api.post<{ credentials: Credentials }>(`${this.state.path}/credentials`);
      this.dialog.open(CredentialsDialog, {
        width: '760px',
        maxWidth: '96vw',
        disableClose: true,
        data: { device, credentials },
      });
    });
  }

  async flash(): Promise<void> {
    const load = () => import('./flash-dialog').then((m) => m.FlashDialog);
    await this.lazyDialog.open(load, { width: '860px', maxWidth: '96vw', data: { chip: this.state.chip() } });
  }

  async delete(): Promise<void> {
    const device = this.state.device()!;
    const reason = await this.confirm.ask({
      title: 'Delete this device?',
      text: `${device.name ?? device.device_code} cannot connect any more, and its history, logs and updates are gone. This cannot be undone.`,
      verb: 'Delete device',
      danger: true,
      typed: device.device_code,
    });
    if (reason === undefined) return;
    const done = await this.toast.around(
      () => this.api.delete(`${this.state.path}/delete`),
      `${device.device_code} was deleted.`,
    );
    if (done) this.router.navigate(['/devices']);
  }

  private told(update: Update | undefined): void {
    if (!update) return;
    this.state.takeUpdate(update);
    this.state.readWhy();
    this.toast.show(
      update.state === 'succeeded'
        ? `The device runs ${update.version} already.`
        : `The update to ${update.version} was ordered.`,
    );
  }
}
