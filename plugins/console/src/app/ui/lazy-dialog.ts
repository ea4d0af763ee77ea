import { inject, Injectable, Type } from '@angular/core';
import { MatDialog, MatDialogConfig } from '@angular/material/dialog';
import { firstValueFrom } from 'rxjs';
import { Toast } from './toast';

/** Opens dialogs whose code comes when they are first needed. */
@Injectable({ providedIn: 'root' })
export class LazyDialog {
  private readonly dialog = inject(MatDialog);
  private readonly toast = inject(Toast);

  /** What it was closed with; undefined: nothing, or its code could not be loaded, which is said. */
  async open<Answer = never>(load: () => Promise<Type<unknown>>, config: MatDialogConfig): Promise<Answer | undefined> {
    let component;
    try {
      component = await load();
    } catch (error) {
      this.toast.error(error);
      return undefined;
    }
    return firstValueFrom(this.dialog.open<unknown, unknown, Answer>(component, config).afterClosed());
  }
}
