import {
  ChangeDetectionStrategy,
  Component,
  computed,
  effect,
  ElementRef,
  inject,
  input,
  signal,
  untracked,
} from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatCheckboxModule } from '@angular/material/checkbox';
import { Router, RouterLink } from '@angular/router';
import { mdiChip, mdiPlus } from '@mdi/js';
import { Api, Query } from '../../core/api';
import { Feed } from '../../core/feed';
import { count, counted } from '../../core/format';
import { Device, DeviceFilter, FeedMessage, StatusNews, Update } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { repeat } from '../../core/repeat';
import { Frame } from '../../ui/frame';
import { Icon } from '../../ui/icon';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { StateBadge } from '../../ui/state-badge';
import { isUnderWay } from '../../ui/states';
import { Time } from '../../ui/time';
import { BulkBar, Selection } from './bulk-bar';
import { filterOf, filterWords, queryOf } from './filter';
import { FilterBar } from './filter-bar';

const COUNT_AGAIN = 15_000; // ms
const WATCHED = 150; // rows followed live: their topics, not the whole fleet's; a connection may have 200 topics

/** All devices that the account sees: filtered and paged by the server, followed live, changed in bulk. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    BulkBar,
    Empty,
    FilterBar,
    Frame,
    Icon,
    Loading,
    MatButtonModule,
    MatCheckboxModule,
    More,
    PageHeader,
    RouterLink,
    StateBadge,
    Time,
  ],
  templateUrl: './devices.html',
  styleUrl: './devices.scss',
})
export class DevicesPage {
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  private readonly host = inject<ElementRef<HTMLElement>>(ElementRef);

  // The filter: texts of the address.
  readonly q = input<string>();
  readonly chip = input<string>();
  readonly tag = input<string>();
  readonly online = input<string>();
  readonly version = input<string>();
  readonly silent_for = input<string>();
  readonly heard_within = input<string>();
  readonly battery_below = input<string>();
  readonly update = input<string>();
  readonly firmware_id = input<string>();

  protected readonly filter = computed<DeviceFilter>(
    () =>
      filterOf({
        q: this.q(),
        chip: this.chip(),
        tag: this.tag(),
        online: this.online(),
        version: this.version(),
        silent_for: this.silent_for(),
        heard_within: this.heard_within(),
        battery_below: this.battery_below(),
        update: this.update(),
        firmware_id: this.firmware_id(),
      }),
    { equal: (a, b) => JSON.stringify(a) === JSON.stringify(b) },
  );
  protected readonly filtered = computed(() => Object.keys(this.filter()).length > 0);
  protected readonly words = computed(() => filterWords(this.filter()));

  protected readonly devices = new PagedList<Device>((cursor, limit) =>
    this.api.list<Device>('/devices', { ...(this.filter() as Query), limit, cursor }),
  );
  /** How many match; null until it is known. */
  protected readonly total = signal<number | null>(null);
  protected readonly totalWords = computed(() => {
    const total = this.total();
    return total === null ? '' : `${counted(total, 'device')}${this.filtered() ? ` ${this.words()}` : ''}`;
  });

  private readonly chosen = signal<ReadonlySet<number>>(new Set());
  private readonly allMatching = signal(false);
  protected readonly selection = computed<Selection | null>(() => {
    if (this.allMatching()) return { count: this.total() ?? 0, select: { filter: this.filter() } };
    const ids = [...this.chosen()];
    return ids.length ? { count: ids.length, select: { device_ids: ids } } : null;
  });
  protected readonly pageChosen = computed(() => this.devices.items().every(({ id }) => this.isChosen(id)));
  protected readonly canChooseAll = computed(
    () => !this.allMatching() && this.pageChosen() && this.devices.hasMore() && this.chosen().size > 0,
  );

  protected readonly watched = WATCHED;
  protected readonly count = count;
  protected readonly icons = { mdiChip, mdiPlus };
  protected readonly isUnderWay = isUnderWay;
  protected readonly tagsOf = (device: Device) =>
    Object.entries(device.tags).map(([name, value]) => `${name}:${value}`);

  constructor() {
    effect(() => {
      this.filter();
      untracked(() => {
        this.clear();
        this.devices.restart();
        this.countAll();
      });
    });
    inject(Feed).watch(
      () =>
        this.devices
          .items()
          .slice(0, WATCHED)
          .map(({ id }) => `device:${id}`),
      (message) => this.take(message),
      () => !this.devices.loading() && this.devices.reload(),
    );
    repeat(() => this.countAll(), COUNT_AGAIN);
  }

  protected setFilter(filter: DeviceFilter): void {
    this.router.navigate([], { queryParams: queryOf(filter) });
  }

  protected again(): void {
    this.devices.reload();
    this.countAll();
  }

  protected isChosen(id: number): boolean {
    return this.allMatching() || this.chosen().has(id);
  }

  protected choose(id: number, yes: boolean): void {
    const next = new Set(this.allMatching() ? this.devices.items().map((device) => device.id) : this.chosen());
    this.allMatching.set(false);
    if (yes) next.add(id);
    else next.delete(id);
    this.chosen.set(next);
  }

  protected choosePage(yes: boolean): void {
    this.allMatching.set(false);
    this.chosen.set(new Set(yes ? this.devices.items().map(({ id }) => id) : []));
  }

  protected chooseAll(): void {
    this.allMatching.set(true);
  }

  protected clear(): void {
    this.allMatching.set(false);
    this.chosen.set(new Set());
  }

  /** The bar that had the focus goes: the box that selects has it then. */
  protected endSelection(): void {
    this.clear();
    setTimeout(() => this.host.nativeElement.querySelector<HTMLElement>('thead input')?.focus());
  }

  private async countAll(): Promise<void> {
    const filter = this.filter();
    try {
      const { count: total } = await this.api.get<{ count: number }>('/devices/count', filter as Query);
      if (filter === this.filter()) this.total.set(total);
    } catch {
      if (filter === this.filter()) this.total.set(null); // the list itself says what is wrong
    }
  }

  private take({ event, data }: FeedMessage): void {
    if (event === 'status') {
      const news = data as StatusNews;
      this.devices.patch((device) =>
        device.id !== news.device_id
          ? device
          : {
              ...device,
              status: news.status,
              last_seen: news.last_seen ?? device.last_seen,
              firmware_version: news.firmware_version ?? device.firmware_version,
            },
      );
    } else if (event === 'update') {
      const update = data as Update;
      this.devices.patch((device) =>
        device.id !== update.device_id ? device : { ...device, update: isUnderWay(update.state) ? update : null },
      );
    }
  }
}
