import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  inject,
  input,
  signal,
  untracked,
} from '@angular/core';
import { HttpClient } from '@angular/common/http';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatCheckboxModule } from '@angular/material/checkbox';
import { MatProgressBarModule } from '@angular/material/progress-bar';
import { firstValueFrom } from 'rxjs';
import { mdiAlertOutline, mdiCheckCircle, mdiUsb } from '@mdi/js';
import { Api, ApiError } from '../../core/api';
import { bytes, counted } from '../../core/format';
import { readImages } from '../../core/images';
import { Firmware } from '../../core/models';
import { Copy } from '../../ui/copy';
import { Icon } from '../../ui/icon';
import { Problem } from '../../ui/notice';
import {
  address,
  APPLICATION,
  bootloaderAddress,
  contentProblem,
  esptoolCommand,
  hex,
  Part,
  PARTITION_TABLE,
} from './flash-plan';
import { Board, serial } from './flash-tool';

type Slot = 'merged' | 'bootloader' | 'table' | 'application';

const SLOTS: Record<Slot, { what: string; file: string }> = {
  merged: { what: 'merged image', file: 'merged.bin' },
  bootloader: { what: 'boot loader', file: 'bootloader.bin' },
  table: { what: 'partition table', file: 'partition-table.bin' },
  application: { what: 'application', file: 'app.bin' },
};
const MOST_LINES = 500;

/** Writes a board's flash over USB, from the browser where that can, else by the command that does the same. */
@Component({
  selector: 'otad-flash',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Copy, FormsModule, Icon, MatButtonModule, MatCheckboxModule, MatProgressBarModule, Problem],
  templateUrl: './flash.html',
  styleUrl: './flash.scss',
})
export class Flash {
  private readonly api = inject(Api);
  private readonly http = inject(HttpClient);
  /** What the device is registered as. */
  readonly chip = input.required<string | null>();

  protected readonly icons = { mdiAlertOutline, mdiCheckCircle, mdiUsb };
  protected readonly bytes = bytes;
  protected readonly counted = counted;
  protected readonly possible = serial() !== null;
  protected readonly insecure = !window.isSecureContext;
  protected readonly mode = signal<'parts' | 'merged'>('parts');
  protected readonly eraseAll = signal(false);
  protected readonly anyway = signal(false); // flash a board of another chip
  protected readonly files = signal<Partial<Record<Slot, File>>>({});
  protected readonly addresses = signal<Partial<Record<Slot, string>>>({}); // as they were typed
  protected readonly images = signal<Firmware[]>([]);
  protected readonly image = signal<number | null>(null); // from the server; null: a file
  protected readonly board = signal<Board | null>(null);
  protected readonly state = signal<'idle' | 'connecting' | 'writing' | 'done'>('idle');
  protected readonly doing = signal('');
  protected readonly share = signal<number | null>(null);
  protected readonly log = signal<string[]>([]);
  protected readonly error = signal<unknown>(null);
  readonly busy = computed(() => this.state() === 'connecting' || this.state() === 'writing');

  protected readonly found = computed(() => this.board()?.chip ?? null);
  protected readonly mismatch = computed(() => {
    const board = this.board();
    return !!board && !!this.chip() && this.found() !== this.chip();
  });
  protected readonly its = computed(() => this.found() ?? this.chip());
  /** The rows of the form: what goes where. */
  protected readonly slots = computed(() => {
    const places: Record<Slot, number | null> = {
      merged: 0,
      bootloader: this.board()?.bootloader ?? bootloaderAddress(this.its()),
      table: PARTITION_TABLE,
      application: APPLICATION,
    };
    const names: Slot[] = this.mode() === 'merged' ? ['merged'] : ['bootloader', 'table', 'application'];
    return names.map((slot) => {
      const place = places[slot];
      const text = this.addresses()[slot] ?? (place === null ? '' : hex(place));
      return { slot, ...SLOTS[slot], text, address: address(text), chosen: this.chosen(slot) };
    });
  });
  protected readonly fitting = computed(() => {
    const chip = this.its();
    return this.images().filter((image) => !chip || image.chip === chip);
  });
  protected readonly ready = computed(() => {
    const chosen = this.slots().filter((row) => row.chosen);
    return !!chosen.length && chosen.every((row) => row.address !== null) && (!this.mismatch() || this.anyway());
  });
  protected readonly command = computed(() =>
    esptoolCommand(
      this.slots().map((row) => ({ address: row.address, name: row.chosen ?? row.file })),
      this.its(),
      this.eraseAll(),
    ),
  );

  constructor() {
    effect(() => {
      const chip = this.its();
      untracked(() => this.readImages(chip));
    });
    inject(DestroyRef).onDestroy(() => this.board()?.close());
  }

  protected choose(slot: Slot, list: FileList | null): void {
    const { [slot]: _, ...others } = this.files();
    this.files.set(list?.[0] ? { ...others, [slot]: list[0] } : others);
    if (slot === 'application' && list?.[0]) this.image.set(null);
    this.again();
  }

  protected place(slot: Slot, text: string): void {
    this.addresses.update((all) => ({ ...all, [slot]: text }));
  }

  protected async connect(): Promise<void> {
    await this.during('connecting', async () => {
      this.log.set([]);
      this.doing.set('Connecting');
      const lost = () => this.board.set(null);
      this.board.set(
        await Board.connect((line) => this.log.update((lines) => [...lines, line].slice(-MOST_LINES)), lost),
      );
      return 'idle';
    });
  }

  protected async disconnect(): Promise<void> {
    await this.board()?.close();
    this.board.set(null);
    this.anyway.set(false);
  }

  protected async write(): Promise<void> {
    const board = this.board()!;
    await this.during('writing', async () => {
      this.doing.set('Reading the files');
      const parts = await this.parts();
      const all = parts.reduce((sum, { data }) => sum + data.length, 0);
      this.doing.set(this.eraseAll() ? 'Erasing' : 'Starting');
      await board.write(parts, this.eraseAll(), (i, share) => {
        const before = parts.slice(0, i).reduce((sum, { data }) => sum + data.length, 0);
        this.share.set((before + share * parts[i].data.length) / all);
        this.doing.set(share < 1 ? `Writing the ${parts[i].what}` : `Verifying the ${parts[i].what}`);
      });
      await this.disconnect(); // the board restarts: what was known of it is over
      return 'done';
    });
  }

  /** Back to the form after something was written. */
  protected again(): void {
    if (this.state() === 'done') this.state.set('idle');
  }

  private chosen(slot: Slot): string | null {
    const image = slot === 'application' ? this.images().find(({ id }) => id === this.image()) : undefined;
    return image ? `${image.project}-${image.version}.bin` : (this.files()[slot]?.name ?? null);
  }

  private async during(state: 'connecting' | 'writing', task: () => Promise<'idle' | 'done'>): Promise<void> {
    this.state.set(state);
    this.error.set(null);
    this.share.set(null);
    try {
      this.state.set(await task());
    } catch (error) {
      this.state.set('idle');
      this.error.set(state === 'writing' ? new Error(`The flash was not written as a whole: ${words(error)}`) : error);
      // What it was in the middle of is not known: the next try begins anew.
      await this.disconnect();
    }
  }

  private async parts(): Promise<Part[]> {
    const parts: Part[] = [];
    for (const { slot, what, address, chosen } of this.slots()) {
      if (!chosen) continue;
      const data = new Uint8Array(
        slot === 'application' && this.image() !== null
          ? await this.download(this.image()!)
          : await this.files()[slot]!.arrayBuffer(),
      );
      const problem = contentProblem(what, data, this.found());
      if (problem) throw new Error(problem);
      parts.push({ what, address: address!, data, name: chosen });
    }
    return parts;
  }

  private async download(id: number): Promise<ArrayBuffer> {
    const data = await firstValueFrom(this.http.get(`/firmware/${id}/download`, { responseType: 'arraybuffer' }));
    const hash = [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('');
    if (hash !== this.images().find((image) => image.id === id)?.sha256)
      throw new Error('The image did not arrive as the server has it.');
    return data;
  }

  private async readImages(chip: string | null): Promise<void> {
    try {
      this.images.set(await readImages(this.api, chip));
    } catch {
      this.images.set([]); // a file does as well
    }
  }
}

function words(error: unknown): string {
  return ApiError.of(error).text;
}
