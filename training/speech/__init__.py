r"""Synthetic speech with exact word and phone times, and the ways rooms and lines spoil it.

All synthesisers are Debian packages, of its sections main, contrib and non-free. Those who teach:

    apt install espeak-ng libflite1 wamerican festival \
        festvox-kallpc16k festvox-kdlpc16k festvox-rablpc16k festvox-hi-nsk \
        festvox-italp16k festvox-itapc16k festvox-suopuhe-lj festvox-suopuhe-mv \
        festvox-czech-dita festvox-czech-krb festvox-czech-machac festvox-czech-ph \
        festvox-ru festvox-ca-ona-hts librhvoice5 rhvoice-english rhvoice-russian \
        rhvoice-ukrainian rhvoice-kyrgyz rhvoice-esperanto

and those who only test:

    apt install alsa-utils libttspico-utils mbrola mbrola-us1 mbrola-us2 mbrola-us3
"""

CURE = "Install the Debian packages that training/speech/__init__.py lists."
