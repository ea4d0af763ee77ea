import { HttpClient } from '@angular/common/http';
import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { Router, RouterLink } from '@angular/router';
import { mdiCheckDecagram, mdiShieldAlert } from '@mdi/js';
import { firstValueFrom } from 'rxjs';
import { Api, ApiError, reload } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { Feed } from '../../core/feed';
import { bytes, count, counted, fullTime } from '../../core/format';
import { Firmware, Page, Rollout } from '../../core/models';
import { PageTitle } from '../../core/page-title';
import { save } from '../../core/save';
import { Session } from '../../core/session';
import { Confirm } from '../../ui/confirm';
import { Copy } from '../../ui/copy';
import { Frame } from '../../ui/frame';
import { Icon } from '../../ui/icon';
import { Loading, Problem } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { RolloutBar } from '../../ui/rollout-bar';
import { StateBadge } from '../../ui/state-badge';
import { Time } from '../../ui/time';
import { Toast } from '../../ui/toast';
import { revision } from './image';

const LOOKED_AT = 200; // rollouts, the newest, for those of this firmware

const SIGNATURES = {
  none: 'None',
  secure_boot_v1: 'Secure Boot v1',
  secure_boot_v2_rsa: 'Secure Boot v2, RSA',
  secure_boot_v2_ecdsa: 'Secure Boot v2, ECDSA',
};

/** One image: what it says of itself, who made it, who runs it, and where it is rolled out. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Copy, Frame, Icon, Loading, MatButtonModule, PageHeader, Problem, RolloutBar, RouterLink, StateBadge, Time],
  templateUrl: './firmware-detail.html',
  styleUrl: './firmware-detail.scss',
})
export class FirmwareDetailPage {
  private readonly api = inject(Api);
  private readonly http = inject(HttpClient);
  private readonly router = inject(Router);
  private readonly confirm = inject(Confirm);
  private readonly toast = inject(Toast);
  protected readonly operator = inject(Session).operator;

  readonly id = input.required<string>();

  protected readonly icons = { mdiCheckDecagram, mdiShieldAlert };
  protected readonly size = bytes;
  protected readonly number = count;
  protected readonly counted = counted;
  protected readonly fullTime = fullTime;
  protected readonly revision = revision;
  protected readonly signatures = SIGNATURES;
  protected readonly image = this.api.resource<Firmware>(() => `/firmware/${this.id()}`);
  protected readonly running = this.api.resource<{ count: number }>(() => `/devices/count?firmware_id=${this.id()}`);
  private readonly settings = this.api.resource<{ keys: { release: { id: string }[] } }>(() =>
    this.operator() ? '/admin/settings' : undefined,
  );
  private readonly newest = this.api.resource<Page<Rollout>>(() =>
    this.operator() ? `/rollouts?limit=${LOOKED_AT}` : undefined,
  );
  protected readonly rollouts = computed(() => {
    const id = Number(this.id());
    return this.newest.hasValue() ? this.newest.value()!.items.filter(({ firmware }) => firmware.id === id) : [];
  });
  protected readonly olderRollouts = computed(() => this.newest.hasValue() && this.newest.value()!.next !== null);
  /** Whether the server trusts the key that signed the image; null: not known. */
  protected readonly trusted = computed(() => {
    const key = this.image.hasValue() && this.image.value()!.release_key;
    if (!key || !this.settings.hasValue()) return null;
    return this.settings.value()!.keys.release.some(({ id }) => id === key);
  });
  /** Some tools write none: zeros. */
  protected readonly hasElf = computed(() => this.image.hasValue() && /[^0]/.test(this.image.value()!.elf_sha256));

  protected readonly busy = signal(false);
  protected readonly refused = signal<ApiError | null>(null);

  constructor() {
    const title = inject(PageTitle);
    effect(() => {
      if (this.image.hasValue()) title.set(`${this.image.value()!.project} ${this.image.value()!.version}`);
    });
    const reread = coalesce(() => reload(this.image, this.running, this.newest), 1000);
    inject(Feed).watch(
      () => (this.operator() ? ['fleet', 'rollouts'] : ['fleet']),
      ({ event, data }) => {
        const told = data as { action?: string; firmware?: { id: number } } & Partial<Rollout>;
        if (event === 'rollout' && told.firmware?.id === Number(this.id())) this.patch(told as Rollout);
        if (event === 'firmware' && told.firmware?.id === Number(this.id())) reread();
      },
      reread,
    );
  }

  private patch(rollout: Rollout): void {
    if (!this.newest.hasValue()) return;
    const { items, next } = this.newest.value()!;
    const known = items.some(({ id }) => id === rollout.id);
    this.newest.set({
      items: known ? items.map((one) => (one.id === rollout.id ? rollout : one)) : [rollout, ...items],
      next,
    });
  }

  protected async download(image: Firmware): Promise<void> {
    this.busy.set(true);
    await this.toast.around(async () => {
      const blob = await firstValueFrom(this.http.get(`/firmware/${image.id}/download`, { responseType: 'blob' }));
      save(`${image.project}-${image.version}-${image.chip}.bin`.replace(/[^\w.-]/g, '_'), blob, blob.type);
    });
    this.busy.set(false);
  }

  protected async remove(image: Firmware): Promise<void> {
    const answer = await this.confirm.ask({
      title: `Delete ${image.project} ${image.version}?`,
      text: 'Its bytes are removed and it cannot be offered any more. Devices that run it keep running it.',
      verb: 'Delete',
      danger: true,
    });
    if (answer === undefined) return;
    this.refused.set(null);
    try {
      await this.api.delete(`/firmware/${image.id}/delete`);
      this.toast.show(`${image.project} ${image.version} is deleted.`);
      this.router.navigate(['/firmware']);
    } catch (error) {
      this.refused.set(ApiError.of(error));
    }
  }
}
