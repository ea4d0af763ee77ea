// Parts of the console come when they are first needed. After an update of otad those of the console before are gone.
import { Location } from '@angular/common';
import { inject } from '@angular/core';
import { NavigationError } from '@angular/router';
import { Toast } from '../ui/toast';
import { isMissing } from './api';

const MARK = 'otad-reloaded'; // in sessionStorage: when it was, in ms
const AGAIN = 60_000; // ms in which a reload that did not help is not tried again

/** Where a page's code is not there, the new console is loaded at that page; not while the server is away, and once. */
export async function onNavigationError({ error, url }: NavigationError): Promise<void> {
  if (!isMissing(error)) return;
  const [place, toast] = [inject(Location).prepareExternalUrl(url), inject(Toast)];
  const there = await fetch(document.baseURI, { method: 'HEAD', cache: 'no-store' }).then(
    ({ ok }) => ok,
    () => false,
  );
  if (!there || Date.now() - Number(sessionStorage.getItem(MARK)) < AGAIN) {
    toast.error(error);
    return;
  }
  sessionStorage.setItem(MARK, `${Date.now()}`);
  location.assign(place);
}
