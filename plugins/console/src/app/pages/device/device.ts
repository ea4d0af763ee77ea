import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  inject,
  input,
  signal,
  viewChild,
} from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatMenuModule } from '@angular/material/menu';
import { MatTabsModule } from '@angular/material/tabs';
import { RouterLink } from '@angular/router';
import { mdiChevronDown, mdiPencilOutline } from '@mdi/js';
import { Api } from '../../core/api';
import { Device } from '../../core/models';
import { PageTitle } from '../../core/page-title';
import { Icon } from '../../ui/icon';
import { Empty, Loading, Problem } from '../../ui/notice';
import { focusHeading, PageHeader } from '../../ui/page-header';
import { StateBadge } from '../../ui/state-badge';
import { Time } from '../../ui/time';
import { Toast } from '../../ui/toast';
import { DeviceActions } from './device-actions';
import { DeviceLogs } from './device-logs';
import { DeviceOverview } from './device-overview';
import { DeviceState } from './device-state';
import { DeviceTimeline } from './device-timeline';
import { DeviceUpdates } from './device-updates';

const TABS = { overview: 'Overview', logs: 'Logs', timeline: 'Timeline', updates: 'Updates' };

/** All about one device, live. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    DeviceLogs,
    DeviceOverview,
    DeviceTimeline,
    DeviceUpdates,
    Empty,
    FormsModule,
    Icon,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatMenuModule,
    MatTabsModule,
    PageHeader,
    Problem,
    RouterLink,
    StateBadge,
    Time,
  ],
  providers: [DeviceState, DeviceActions],
  templateUrl: './device.html',
  styleUrl: './device.scss',
})
export class DevicePage {
  private readonly api = inject(Api);
  private readonly toast = inject(Toast);
  protected readonly state = inject(DeviceState);
  protected readonly actions = inject(DeviceActions);

  private readonly field = viewChild<ElementRef<HTMLInputElement>>('field');

  readonly id = input.required<string>();
  readonly tab = input<string>();

  protected readonly icons = { mdiChevronDown, mdiPencilOutline };
  protected readonly tabs = Object.entries(TABS).map(([key, text]) => ({ key, text }));
  protected readonly shown = computed(() => (this.tab()! in TABS ? this.tab()! : 'overview'));
  protected readonly title = computed(() => {
    const device = this.state.device();
    return device ? (device.name ?? device.device_code) : 'Device';
  });
  protected readonly tags = computed(() =>
    Object.entries(this.state.device()?.tags ?? {}).sort(([a], [b]) => a.localeCompare(b)),
  );
  protected readonly name = signal<string | null>(null); // while it is changed
  protected readonly saving = signal(false);

  constructor() {
    const pageTitle = inject(PageTitle);
    effect(() => {
      this.state.id.set(/^[1-9]\d{0,9}$/.test(this.id()) ? Number(this.id()) : 0);
      this.name.set(null); // it was typed for another device
    });
    effect(() => {
      if (this.state.device()) pageTitle.set(this.title());
    });
  }

  protected rename(): void {
    this.name.set(this.state.device()?.name ?? '');
    setTimeout(() => this.field()?.nativeElement.select()); // once the menu has given the focus back
  }

  protected async saveName(): Promise<void> {
    this.saving.set(true);
    const id = this.id();
    const name = this.name()!.trim() || null;
    const done = await this.toast.around(async () => {
      const device = await this.api.patch<Device>(this.state.path, { name });
      if (id === this.id()) this.state.device.set(device);
    });
    this.saving.set(false);
    if (done && id === this.id()) this.endRename();
  }

  /** The field that had the focus goes: the page's heading has it then. */
  protected endRename(): void {
    this.name.set(null);
    focusHeading();
  }
}
