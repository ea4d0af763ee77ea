import { computed, effect, inject, Injectable, signal, untracked } from '@angular/core';
import { Api, ApiError } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { Feed } from '../../core/feed';
import {
  Device,
  DeviceExplanation,
  DeviceStatus,
  FeedMessage,
  Firmware,
  Page,
  StatusNews,
  Update,
} from '../../core/models';
import { isUnderWay } from '../../ui/states';

/** What the page knows of its device, kept current by the live feed. Provided by the page. */
@Injectable()
export class DeviceState {
  private readonly api = inject(Api);
  private readonly feed = inject(Feed);
  private turn = 0;
  private reading = 0; // answers to come
  private came: StatusNews[] = []; // while they come, which may be older

  /** The page sets it; 0: the address names no device. */
  readonly id = signal<number | undefined>(undefined);
  readonly device = signal<Device | null>(null);
  readonly telemetry = signal<DeviceStatus['telemetry']>({});
  readonly explanation = signal<DeviceExplanation | null>(null);
  /** The newest update, under way or ended. */
  readonly update = signal<Update | null>(null);
  readonly error = signal<ApiError | null>(null);
  /** Of the explanation alone: the rest of the page does without. */
  readonly whyError = signal<ApiError | null>(null);
  /** Images for its chip, newest first; null: not read yet. */
  readonly images = signal<Firmware[] | null>(null);
  readonly imagesError = signal<ApiError | null>(null);

  readonly chip = computed(() => this.device()?.chip ?? this.device()?.chip_reported ?? null);
  private readonly known = computed(() => this.device() !== null);
  readonly underWay = computed(() => {
    const update = this.update();
    return update && isUnderWay(update.state) ? update : null;
  });
  readonly running = computed(() => {
    const elf = this.device()?.elf_sha256;
    return (elf && this.images()?.find((image) => image.elf_sha256 === elf)) || null;
  });

  private readonly askWhy = coalesce(() => this.readWhy(), 1000);
  private readonly askDevice = coalesce(() => this.readDevice(), 1000);

  constructor() {
    effect(() => {
      this.id();
      untracked(() => this.load());
    });
    effect(() => {
      this.chip(); // may be null of a device, too
      if (this.known()) untracked(() => this.readImages());
    });
    this.feed.watch(
      () => (this.id() ? [`device:${this.id()}`] : []),
      (message) => this.take(message),
      () => this.load(),
    );
  }

  get path(): string {
    return `/devices/${this.id()}`;
  }

  async load(): Promise<void> {
    const id = this.id();
    const turn = ++this.turn;
    if (!id) {
      if (id === 0) this.error.set(new ApiError(404, 'There is no such device.'));
      return;
    }
    if (this.device()?.id !== id) this.forget();
    const [device] = await Promise.all([this.readDevice(), this.readWhy()]);
    if (turn === this.turn && device) this.error.set(null);
  }

  async readDevice(): Promise<Device | null> {
    const id = this.id();
    this.reading++;
    try {
      const [device, status] = await Promise.all([
        this.api.get<Device>(this.path),
        this.api.get<DeviceStatus>(`${this.path}/status`),
      ]);
      if (id !== this.id()) return null;
      this.device.set(device);
      this.telemetry.set(status.telemetry);
      if (status.update) this.takeUpdate(status.update);
      this.came.filter((said) => !isOlder(said, device)).forEach((said) => this.takeStatus(said));
      return device;
    } catch (error) {
      if (id === this.id()) this.error.set(ApiError.of(error));
      return null;
    } finally {
      if (--this.reading === 0) this.came = [];
    }
  }

  async readWhy(): Promise<void> {
    const id = this.id();
    try {
      const why = await this.api.get<DeviceExplanation>(`${this.path}/explain`);
      if (id !== this.id()) return;
      this.explanation.set(why);
      this.whyError.set(null);
      if (why.update) this.takeUpdate(why.update);
    } catch (error) {
      if (id === this.id()) this.whyError.set(ApiError.of(error));
    }
  }

  async readImages(): Promise<void> {
    const chip = this.chip();
    try {
      const images: Firmware[] = [];
      for (let cursor: string | null = null, page: Page<Firmware>; ; cursor = page.next) {
        page = await this.api.list<Firmware>('/firmware/list', { chip, limit: 200, cursor });
        images.push(...page.items);
        if (!page.next || images.length >= 1000) break;
      }
      if (chip !== this.chip()) return;
      this.images.set(images.sort((a, b) => b.id - a.id));
      this.imagesError.set(null);
    } catch (error) {
      this.imagesError.set(ApiError.of(error));
    }
  }

  /** An update that was ordered, ended or told of; older ones than the newest change nothing. */
  takeUpdate(update: Update): void {
    const known = this.update();
    if (!known || update.id > known.id || (update.id === known.id && update.updated_at >= known.updated_at))
      this.update.set(update);
  }

  private forget(): void {
    this.came = [];
    this.device.set(null);
    this.telemetry.set({});
    this.explanation.set(null);
    this.update.set(null);
    this.error.set(null);
    this.whyError.set(null);
  }

  private take({ event, data }: FeedMessage): void {
    if (event === 'status') {
      if (this.reading) this.came.push(data as StatusNews);
      this.takeStatus(data as StatusNews);
    } else if (event === 'update') {
      this.takeUpdate(data as Update);
      this.askWhy();
    } else if (event === 'decision') this.askWhy();
  }

  private takeStatus(said: StatusNews): void {
    const device = this.device();
    if (!device) return;
    const version = said.firmware_version ?? device.firmware_version;
    this.device.set({
      ...device,
      status: said.status,
      last_seen: said.last_seen ?? device.last_seen,
      firmware_version: version,
    });
    this.telemetry.update((known) => ({ ...known, ...said.telemetry }));
    // What the feed does not tell of: the image's hash, and what all this means.
    if (version !== device.firmware_version) this.askDevice();
    if (version !== device.firmware_version || said.status !== device.status) this.askWhy();
  }
}

/** The API tells microseconds, the feed milliseconds of the same message. */
function isOlder(said: StatusNews, device: Device): boolean {
  return !!said.last_seen && !!device.last_seen && said.last_seen.slice(0, 23) < device.last_seen.slice(0, 23);
}
