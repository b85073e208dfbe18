# The chapters in JupyterLab, with live sliders, and nothing that builds the book:
#
#     docker build --tag lbdl . && docker run --rm --publish 8888:8888 lbdl
#
# Binder takes this file too, and so does a JupyterHub whose users get containers.
FROM python:3.13-slim

ARG NB_USER=reader
ARG NB_UID=1000
RUN useradd --create-home --uid ${NB_UID} ${NB_USER}
ENV HOME=/home/${NB_USER} PIP_NO_CACHE_DIR=1
WORKDIR ${HOME}/book

# The versions that the book was made with; torch for a CPU, without gigabytes for a GPU.
COPY requirements.txt ./
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu --constraint requirements.txt torch

COPY --chown=${NB_UID} . .
RUN pip install --constraint requirements.txt ".[notebook]" jupyterhub

USER ${NB_USER}
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--LabApp.app_settings_dir=book/_lab", "--LabApp.default_url=/lab/tree/book/intro.md"]
